// SPDX-License-Identifier: MIT
// mlperf_shim.cc - mlperf_shim.h over LoadGen's C++ classes.  Its own C binding (bindings/c_api.h)
// cannot be called from C, and logs to the working directory only.
#include "mlperf/mlperf_shim.h"

#include <loadgen.h>
#include <query_sample_library.h>
#include <system_under_test.h>
#include <test_settings.h>
#include <version.h>

#include <string>
#include <vector>

namespace {

class Sut : public mlperf::SystemUnderTest {
  public:
    explicit Sut(const mlperf_shim &shim) : shim_(shim), name_(shim.sut_name)
    {
    }
    const std::string &Name() override
    {
        return name_;
    }
    void IssueQuery(const std::vector<mlperf::QuerySample> &samples) override
    {
        std::vector<mlperf_sample> own;
        own.reserve(samples.size());
        for (const auto &s : samples)
            own.push_back({s.id, s.index});
        shim_.issue(shim_.arg, own.data(), own.size());
    }
    void FlushQueries() override
    {
    }

  private:
    const mlperf_shim &shim_;
    std::string name_;
};

// All questions are in memory from the beginning.
class Set : public mlperf::QuerySampleLibrary {
  public:
    explicit Set(const mlperf_shim &shim) : shim_(shim), name_(shim.set_name)
    {
    }
    const std::string &Name() override
    {
        return name_;
    }
    size_t TotalSampleCount() override
    {
        return shim_.n_total;
    }
    size_t PerformanceSampleCount() override
    {
        return shim_.n_performance;
    }
    void LoadSamplesToRam(const std::vector<mlperf::QuerySampleIndex> &) override
    {
    }
    void UnloadSamplesFromRam(const std::vector<mlperf::QuerySampleIndex> &) override
    {
    }

  private:
    const mlperf_shim &shim_;
    std::string name_;
};

mlperf::TestScenario scenario_of(const std::string &name)
{
    if (name == "MultiStream")
        return mlperf::TestScenario::MultiStream;
    if (name == "Server")
        return mlperf::TestScenario::Server;
    if (name == "Offline")
        return mlperf::TestScenario::Offline;
    return mlperf::TestScenario::SingleStream;
}

mlperf_limits limits_of(const mlperf::TestSettings &t, size_t n_performance)
{
    mlperf_limits l = {};
    bool server = t.scenario == mlperf::TestScenario::Server;
    l.target_qps = server ? t.server_target_qps : t.offline_expected_qps;
    l.min_duration_ms = t.min_duration_ms;
    l.min_queries = t.min_query_count;
    l.token_latencies = t.use_token_latencies;
    l.whole = t.sample_concatenate_permutation ? n_performance : 0;
    if (server && t.use_token_latencies) {
        l.ttft_ns = t.server_ttft_latency;
        l.tpot_ns = t.server_tpot_latency;
    }
    l.percentile = server ? t.server_target_latency_percentile
                   : t.scenario == mlperf::TestScenario::MultiStream
                       ? t.multi_stream_target_latency_percentile
                       : t.single_stream_target_latency_percentile;
    return l;
}

} // namespace

extern "C" bool mlperf_shim_built(void)
{
    return true;
}

extern "C" const char *mlperf_shim_version(void)
{
    return mlperf::LoadgenVersion().c_str();
}

extern "C" bool mlperf_shim_run(const struct mlperf_shim *s,
                                void (*ready)(void *, const struct mlperf_limits *),
                                void *ready_arg)
{
    mlperf::TestSettings t;
    mlperf::LogSettings logs;
    t.token_latency_scaling_factor = 0; // the header leaves it without a value
    t.scenario = scenario_of(s->scenario);
    if (t.FromConfig(s->user_conf, s->model, s->scenario) != 0)
        return false;
    t.mode = s->accuracy ? mlperf::TestMode::AccuracyOnly : mlperf::TestMode::PerformanceOnly;
    logs.log_output.outdir = s->log_dir;
    logs.enable_trace = false;
    if (ready) {
        mlperf_limits l = limits_of(t, s->n_performance);
        ready(ready_arg, &l);
    }
    Sut sut(*s);
    Set set(*s);
    // Its default, "audit.config" in the working directory, would silently change the settings.
    const std::string audit = s->audit_conf ? s->audit_conf : std::string(s->log_dir) + "/none";
    mlperf::StartTest(&sut, &set, t, logs, audit);
    return true;
}

extern "C" void mlperf_shim_first(uintptr_t id, const void *data, size_t bytes)
{
    mlperf::QuerySampleResponse r(id, reinterpret_cast<uintptr_t>(data), bytes, 1);
    mlperf::FirstTokenComplete(&r, 1);
}

extern "C" void mlperf_shim_complete(uintptr_t id, const void *data, size_t bytes,
                                     int64_t n_tokens)
{
    mlperf::QuerySampleResponse r(id, reinterpret_cast<uintptr_t>(data), bytes, n_tokens);
    mlperf::QuerySamplesComplete(&r, 1);
}

extern "C" void mlperf_shim_abort(void)
{
    mlperf::AbortTest();
}

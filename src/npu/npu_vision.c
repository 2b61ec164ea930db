/* SPDX-License-Identifier: MIT
 * npu_vision.c - the image networks of MLPerf Inference, made by their rules.
 * Sources: ResNet-50 v1.5 (He et al. 2015, stride in the 3x3 as MLPerf has it), MobileNet-v1
 * (Howard et al. 2017), SSD-MobileNet-v1 at 300 x 300 with 91 classes and SSD-ResNet34 at 1200 x
 * 1200 with 81 classes (mlcommons/inference, vision/classification_and_detection). */
#include "base/num.h"
#include "npu/npu_int.h"

struct image { /* a tensor with its shape */
    int id;
    uint64_t side, channels;
};

static struct image new_image(struct npu_work *w, uint64_t side, uint64_t channels)
{
    return (struct image){npu_work_tensor(w, w->batch * side * side * channels), side, channels};
}

/* A convolution of `taps` x `taps`; its batch norm is in the weights, its activation in the output.
 */
static struct image conv(struct npu_work *w, const char *name, struct image in, uint64_t out,
                         uint64_t taps, uint64_t stride)
{
    uint64_t side = (in.side + stride - 1) / stride;
    struct image x = new_image(w, side, out);
    struct npu_op *op = npu_work_op(w, NPU_MATMUL, name, -1, in.id, x.id);
    op->m = w->batch * side * side;
    op->k = taps * taps * in.channels;
    op->n = out;
    double read = (double)w->batch * (double)(in.side * in.side * in.channels);
    if (taps == 1) /* skipped pixels are not read */
        read = (double)op->m * (double)in.channels;
    op->unique = read / ((double)op->m * (double)op->k);
    return x;
}

/* The same, and `add` is added to it. */
static struct image conv_add(struct npu_work *w, const char *name, struct image in, uint64_t out,
                             uint64_t taps, struct image add)
{
    struct image x = conv(w, name, in, out, taps, 1);
    w->ops[w->n_ops - 1].in2 = add.id;
    w->ops[w->n_ops - 1].passes = 1;
    return x;
}

static struct image pool(struct npu_work *w, const char *name, struct image in, uint64_t side,
                         uint64_t taps)
{
    struct image x = new_image(w, side, in.channels);
    struct npu_op *op = npu_work_op(w, NPU_VECTOR, name, -1, in.id, x.id);
    op->m = w->batch * side * side;
    op->n = in.channels;
    op->passes = (double)(taps * taps);
    op->reads = (double)(in.side * in.side) / (double)(side * side);
    return x;
}

static struct image depthwise(struct npu_work *w, const char *name, struct image in,
                              uint64_t stride)
{
    uint64_t side = (in.side + stride - 1) / stride;
    struct image x = new_image(w, side, in.channels);
    struct npu_op *op = npu_work_op(w, NPU_DEPTHWISE, name, -1, in.id, x.id);
    op->m = w->batch * side * side;
    op->k = 9;
    op->n = in.channels;
    op->reads = (double)(in.side * in.side) / (double)(side * side);
    return x;
}

static struct image input(struct npu_work *w, uint64_t side)
{
    w->host_in = w->batch * side * side * 3; /* bytes: images of 8 bits */
    return new_image(w, side, 3);
}

static void classes(struct npu_work *w, struct image in, uint64_t n)
{
    struct image x = pool(w, "pool", in, 1, in.side);
    conv(w, "fc", x, n, 1, 1);
    w->host_out = w->batch * 4; /* the best class */
}

void npu_make_resnet50(struct npu_work *w)
{
    static const struct {
        uint64_t mid, out;
        int blocks;
    } stages[] = {
        {64,  256,  3},
        {128, 512,  4},
        {256, 1024, 6},
        {512, 2048, 3}
    };
    struct image x = conv(w, "conv1", input(w, 224), 64, 7, 2);
    x = pool(w, "maxpool", x, 56, 3);
    for (size_t s = 0; s < N_ELEMS(stages); s++)
        for (int b = 0; b < stages[s].blocks; b++) {
            uint64_t stride = s > 0 && b == 0 ? 2 : 1;
            struct image side = b == 0 ? conv(w, "shortcut", x, stages[s].out, 1, stride) : x;
            struct image y = conv(w, "conv1x1", x, stages[s].mid, 1, 1);
            y = conv(w, "conv3x3", y, stages[s].mid, 3, stride);
            x = conv_add(w, "conv1x1+", y, stages[s].out, 1, side);
        }
    classes(w, x, 1000);
}

/* The thirteen pairs of MobileNet-v1; *mid: what the eleventh gives, which a detector reads too. */
static struct image mobilenet_body(struct npu_work *w, struct image x, struct image *mid)
{
    static const struct {
        uint64_t out, stride;
    } pairs[] = {
        {64,   1},
        {128,  2},
        {128,  1},
        {256,  2},
        {256,  1},
        {512,  2},
        {512,  1},
        {512,  1},
        {512,  1},
        {512,  1},
        {512,  1},
        {1024, 2},
        {1024, 1}
    };
    x = conv(w, "conv1", x, 32, 3, 2);
    for (size_t i = 0; i < N_ELEMS(pairs); i++) {
        x = depthwise(w, "depthwise", x, pairs[i].stride);
        x = conv(w, "pointwise", x, pairs[i].out, 1, 1);
        if (i == 10)
            *mid = x;
    }
    return x;
}

void npu_make_mobilenet(struct npu_work *w)
{
    struct image mid;
    classes(w, mobilenet_body(w, input(w, 224), &mid), 1001);
}

/* Boxes and classes of each anchor at each place of a feature map. */
static void heads(struct npu_work *w, struct image in, uint64_t anchors, uint64_t n_classes,
                  uint64_t taps, uint64_t stride)
{
    conv(w, "boxes", in, anchors * 4, taps, stride);
    conv(w, "classes", in, anchors * n_classes, taps, stride);
    uint64_t side = (in.side + stride - 1) / stride;
    w->host_out += w->batch * side * side * anchors * (4 + n_classes) * 2; /* the host sorts them */
}

void npu_make_ssd_mobilenet(struct npu_work *w)
{
    static const uint64_t extra[][2] = {
        {256, 512},
        {128, 256},
        {128, 256},
        {64,  128}
    };
    struct image mid, x = mobilenet_body(w, input(w, 300), &mid);
    heads(w, mid, 3, 91, 1, 1);
    heads(w, x, 6, 91, 1, 1);
    for (size_t i = 0; i < N_ELEMS(extra); i++) {
        x = conv(w, "extra1x1", x, extra[i][0], 1, 1);
        x = conv(w, "extra3x3", x, extra[i][1], 3, 2);
        heads(w, x, 6, 91, 1, 1);
    }
}

void npu_make_ssd_resnet34(struct npu_work *w)
{
    static const struct {
        uint64_t channels, stride;
        int blocks;
    } stages[] = {
        {64,  1, 3},
        {128, 2, 4},
        {256, 1, 6}
    };
    static const struct {
        uint64_t mid, out, stride, anchors, head_stride;
    } extra[] = {
        {256, 512, 2, 6, 3},
        {256, 512, 2, 6, 2},
        {128, 256, 2, 6, 2},
        {128, 256, 2, 4, 2},
        {128, 256, 1, 4, 2}
    };
    struct image x = conv(w, "conv1", input(w, 1200), 64, 7, 2);
    x = pool(w, "maxpool", x, 300, 3);
    for (size_t s = 0; s < N_ELEMS(stages); s++)
        for (int b = 0; b < stages[s].blocks; b++) {
            uint64_t stride = b == 0 ? stages[s].stride : 1, c = stages[s].channels;
            bool shortcut = x.channels != c || stride != 1;
            struct image side = shortcut ? conv(w, "shortcut", x, c, 1, stride) : x;
            struct image y = conv(w, "conv3x3", x, c, 3, stride);
            x = conv_add(w, "conv3x3+", y, c, 3, side);
        }
    heads(w, x, 4, 81, 3, 3);
    for (size_t i = 0; i < N_ELEMS(extra); i++) {
        x = conv(w, "extra1x1", x, extra[i].mid, 1, 1);
        x = conv(w, "extra3x3", x, extra[i].out, 3, extra[i].stride);
        heads(w, x, extra[i].anchors, 81, 3, extra[i].head_stride);
    }
}

// SPDX-License-Identifier: MIT
// OpenAI's own Node client against `damso serve`: node tests/openai_test.mjs DAMSO.  Needs
// DAMSO_TEST_MODELS and build/clients (tools/clients.sh).  What a small model says proves nothing:
// answers are greedy, compared with each other, or forced into shapes.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const damso = resolve(process.argv[2]);
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const OpenAI = createRequire(join(root, 'build/clients/package.json'))('openai');
const skip = process.env.DAMSO_TEST_MODELS ? false : 'DAMSO_TEST_MODELS is not set';
const model = 'smollm2-135m-instruct';
const korean = '안녕하세요, 담소입니다! 👩‍👩‍👧 값은 훑다.';
const words = { guided_regex: '[a-z]{1,9}( [a-z]{1,9}){2,4}' }; // a shape that ends
const parameters = {
    type: 'object', properties: { city: { enum: ['서울'] }, n: { enum: [1, 2] } },
    required: ['city', 'n'], additionalProperties: false,
};
let server, home, client;

const ask = more => ({
    model, messages: [{ role: 'user', content: 'Say something.' }], temperature: 0, max_tokens: 100, ...more,
});

async function start() {
    home = mkdtempSync(join(tmpdir(), 'damso-'));
    const env = {
        PATH: process.env.PATH, HOME: home, DAMSO_MODELS_DIR: process.env.DAMSO_TEST_MODELS, DAMSO_CTX: '2048',
        DAMSO_STORE: `sqlite:${home}/store.db`,
    };
    for (const name of ['DAMSO_CPU', 'ASAN_OPTIONS', 'TSAN_OPTIONS'])
        if (process.env[name]) env[name] = process.env[name];
    const args = ['serve', '--port', '0', '-m', model, '--speculate', 'off']; // an answer has to last here
    server = spawn(damso, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    server.ended = new Promise(done => server.on('exit', done));
    for await (const line of createInterface({ input: server.stdout })) {
        const at = / at (http:\S+)/.exec(line);
        if (at) return at[1];
    }
    throw new Error('the server did not start');
}

async function idle(seconds) {
    const url = client.baseURL.replace('/v1', '/metrics');
    for (const end = Date.now() + seconds * 1000; Date.now() < end;) {
        const text = await (await fetch(url)).text();
        if (Number(/^damso_running\S* (\d+)/m.exec(text)[1]) === 0) return true;
        await new Promise(done => setTimeout(done, 20));
    }
    return false;
}

if (!skip) {
    before(async () => {
        client = new OpenAI({ baseURL: `${await start()}/v1`, apiKey: 'none', maxRetries: 0, timeout: 300000 });
    });
    after(async () => {
        server.kill('SIGTERM');
        const status = await server.ended;
        rmSync(home, { recursive: true });
        assert.equal(status, 0);
    });
}

test('chat', { skip }, async () => {
    const o = await client.chat.completions.create(ask({ guided_choice: [korean] }));
    assert.deepEqual([o.object, o.choices.length, o.choices[0].finish_reason], ['chat.completion', 1, 'stop']);
    assert.equal(o.choices[0].message.content, korean);
    assert.equal(o.usage.total_tokens, o.usage.prompt_tokens + o.usage.completion_tokens);
});

test('a stream, chunk by chunk', { skip }, async () => {
    let text = '', usage = null;
    for await (const chunk of await client.chat.completions.create(
        ask({ guided_choice: [korean], stream: true, stream_options: { include_usage: true } }))) {
        text += chunk.choices[0]?.delta.content ?? '';
        usage = chunk.usage;
    }
    assert.equal(text, korean);
    assert.ok(usage.completion_tokens > 10);
});

test('the stream helper gathers what the whole answer is', { skip }, async () => {
    const fields = ask({ ...words, n: 2, seed: 5, temperature: 1, logprobs: true });
    const whole = await client.chat.completions.create(fields);
    const stream = client.chat.completions.stream(fields);
    let chunks = 0;
    for await (const chunk of stream) chunks += chunk.choices.length;
    const got = await stream.finalChatCompletion();
    const parts = o => o.choices.map(c => [c.index, c.finish_reason, c.message.content, c.logprobs.content.length]);
    assert.deepEqual(parts(got), parts(whole));
    assert.ok(chunks > 10);
    const texts = [];
    const again = client.chat.completions.stream(ask(words)).on('content', delta => texts.push(delta));
    assert.equal(await again.finalContent(), texts.join(''));
});

test('shapes are parsed', { skip }, async () => {
    const response_format = { type: 'json_schema', json_schema: { name: 'place', strict: true, schema: parameters } };
    const o = await client.chat.completions.parse(ask({ response_format }));
    assert.equal(JSON.parse(o.choices[0].message.content).city, '서울');
});

for (const stream of [false, true])
    test(`tools are run, stream: ${stream}`, { skip }, async () => {
        const seen = [];
        const look = {
            type: 'function',
            function: {
                name: 'look', description: 'Looks at a city', parameters, parse: JSON.parse,
                function: args => { seen.push(args); return { sky: '맑음' }; },
            },
        };
        const named = { type: 'function', function: { name: 'look' } };
        const fields = ask({ stream, tools: [look], parallel_tool_calls: false });
        const one = client.chat.completions.runTools({ ...fields, tool_choice: named });
        assert.equal(await one.finalFunctionToolCallResult(), JSON.stringify({ sky: '맑음' }));
        assert.equal((await one.finalFunctionToolCall()).name, 'look');
        assert.deepEqual([seen.length, seen[0].city], [1, '서울']);
        assert.deepEqual(one.messages.map(m => m.role), ['user', 'assistant', 'tool']);
        // what the tool said goes back, and it is called again
        const two = client.chat.completions.runTools({ ...fields, tool_choice: 'required' }, { maxChatCompletions: 2 });
        await two.done();
        assert.deepEqual(two.messages.map(m => m.role), ['user', 'assistant', 'tool', 'assistant', 'tool']);
        assert.equal(seen.length, 3);
    });

test('responses', { skip }, async () => {
    const format = { type: 'json_schema', name: 'place', strict: true, schema: parameters };
    const fields = { model, input: 'Where?', temperature: 0, max_output_tokens: 100, text: { format } };
    const o = await client.responses.create(fields);
    assert.equal(o.status, 'completed');
    assert.equal(JSON.parse(o.output_text).city, '서울');
    const stream = client.responses.stream(fields);
    const kinds = [];
    let text = '';
    for await (const event of stream) {
        kinds.push(event.type);
        if (event.type === 'response.output_text.delta') text += event.delta;
    }
    const got = await stream.finalResponse();
    assert.deepEqual([kinds[0], kinds.at(-1)], ['response.created', 'response.completed']);
    assert.deepEqual([text, got.output_text], [o.output_text, o.output_text]);
    const next = await client.responses.create({ ...fields, previous_response_id: o.id });
    assert.equal(next.previous_response_id, o.id);
    assert.equal((await client.responses.retrieve(next.id)).output_text, next.output_text);
});

test('embeddings', { skip }, async () => {
    const get = async more => (await client.embeddings.create({ model, input: ['a cat', korean], ...more })).data;
    const [a, b] = [await get(), await get({ encoding_format: 'float' })]; // the first comes as base64
    assert.equal(a.length, 2);
    a.forEach((d, i) => {
        assert.equal(d.embedding.length, b[i].embedding.length);
        d.embedding.forEach((x, j) => assert.ok(Math.abs(x - b[i].embedding[j]) < 1e-6));
    });
    assert.equal((await get({ dimensions: 8 }))[0].embedding.length, 8);
});

test('an aborted stream ends its answer', { skip }, async () => {
    const long = ask({ max_tokens: 1500, ignore_eos: true });
    const stream = await client.chat.completions.create({ ...long, stream: true });
    for await (const chunk of stream) {
        if (chunk.choices[0].delta.content) break;
    }
    stream.controller.abort();
    assert.ok(await idle(5)); // the whole would take far longer
    const helper = client.chat.completions.stream(long).on('chunk', () => helper.abort());
    await assert.rejects(helper.done(), OpenAI.APIUserAbortError);
    assert.ok(await idle(5));
    await assert.rejects(client.chat.completions.create(long, { timeout: 200 }), OpenAI.APIConnectionTimeoutError);
    assert.ok(await idle(60));
});

test('errors', { skip }, async () => {
    const refused = async (fields, code, param) => assert.rejects(client.chat.completions.create(ask(fields)), e => {
        assert.ok(e instanceof OpenAI.BadRequestError);
        assert.deepEqual([e.status, e.code, e.param, e.type], [400, code, param, 'invalid_request_error']);
        return true;
    });
    for (const stream of [false, true]) {
        await refused({ stream, messages: [{ role: 'user', content: 'word '.repeat(3000) }] },
            'context_length_exceeded', 'messages');
        await refused({ stream, temperature: 9 }, 'invalid_value', 'temperature');
    }
    await assert.rejects(client.chat.completions.retrieve('chatcmpl-nix'), OpenAI.NotFoundError);
});

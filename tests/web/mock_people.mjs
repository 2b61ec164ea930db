// SPDX-License-Identifier: MIT
// The mock with accounts: names and numbers are invented, to take pictures of.

const now = () => Date.now() / 1000;
const GB = 1e9;

const user = (name, role, more) => ({
  id: `user-${name}`,
  name,
  role,
  created: now() - 4e6,
  seen: now() - 60,
  disabled: 0,
  password: true,
  requests_minute: 0,
  tokens_minute: 0,
  n_concurrent: 0,
  ...more,
});

/** Makes `mock` answer what /api/v1 has for people; `who` is logged in, null: nobody. */
export function withPeople(mock, who = '하늘') {
  const users = [
    user('하늘', 'admin'),
    user('보람', 'user', { seen: now() - 7300 }),
    user('도윤', 'user', { seen: now() - 90000, tokens_minute: 20000 }),
    user('이서', 'user', { seen: 0, password: false }),
  ];
  const me = users.find((u) => u.name === who);
  const began = now();
  const models = [
    ['gemma3-4b', 'open', 'Q4_0', 2.5],
    ['qwen3-8b', 'open', 'Q4_K_M', 5.0],
    ['smollm2-135m-instruct', 'closed', 'Q4_1', 0.1],
  ];
  const live = () => {
    const t = now() - began + 60;
    const wave = 214 * t + 460 * Math.sin(t / 9) + 40 * Math.sin(t / 2.1) + 9 * Math.sin(t * 1.7);
    return {
      now: t,
      started: began - 6.3 * 86400,
      parallel: 32,
      resident: 9.6 * GB,
      memory: 16 * GB,
      available: 5.2 * GB,
      connections: 23,
      loads: true,
      pulls: [{ name: 'kanana1.5-8b', bytes: 3.1 * GB, total: 5 * GB }],
      offers: [],
      models: models.map(([id, state, format, gb], i) => ({
        id,
        state,
        format,
        bytes: gb * GB,
        context: 8192,
        ...(state === 'open' && {
          in_use: i === 0,
          memory: { weights: gb * 0.94 * GB, context: (i ? 1.0 : 1.2) * GB, work: 0.3 * GB },
          load: {
            running: i ? 2 : 7,
            queued: 0,
            pages: 1000,
            pages_free: i ? 500 : 340,
            answer_tokens: i ? 0 : Math.round(wave),
          },
        }),
      })),
    };
  };
  const day = Math.floor(now() / 86400);
  const usage = (days) => {
    const rows = [];
    for (let d = day - days + 1; d <= day; d++)
      users.slice(0, 3).forEach((u, k) =>
        models.forEach(([model], m) => {
          const n = (Math.sin(d * 1.3 + k * 2 + m) + 1.25) * (9 - 3 * m) * (4 - k) * (d % 7 > 4 ? 0.4 : 1);
          rows.push({
            day: d,
            owner: u.id,
            name: u.name,
            model,
            requests: Math.round(n),
            prompt_tokens: Math.round(n * 310),
            answer_tokens: Math.round(n * 190),
          });
        }),
      );
    return { from: day - days + 1, to: day, rows };
  };
  const route = mock.route.bind(mock);
  mock.route = (method, parts, query, body) => {
    const at = parts.join('/');
    if (at === 'session') return { accounts: true, user: me ?? null, empty: false };
    if (at === 'me') return { ...route(method, parts, query, body), user: me, accounts: true, user_keys: true };
    if (at === 'admin/live') return live();
    if (at === 'admin/usage') return usage(Number(query.get('days') ?? 30));
    if (at === 'admin/users') return { users };
    if (at === 'admin/invitations')
      return {
        invitations: [
          { id: 'i1', kind: 'invitation', role: 'user', note: '독서 모임', uses_left: 5, created: now(), expires: now() + 2e5 },
        ],
      };
    if (at === 'admin/keys') return { keys: [] };
    return route(method, parts, query, body);
  };
  return mock;
}

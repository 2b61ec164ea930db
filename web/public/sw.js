// SPDX-License-Identifier: MIT
// Keeps the shell of the app, so that it opens without the server and says so. Chats and everything
// else under /api/ are never kept here.
const CACHE = 'damso-shell-1';
const KEEP = 120; // files at most; those not asked for the longest go first
const scope = new URL(self.registration.scope);

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => {
  const old = caches.keys().then((names) =>
    Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name))));
  event.waitUntil(old.then(() => self.clients.claim()));
});

async function keep(request, response) {
  if (!response.ok || response.redirected) return;
  const cache = await caches.open(CACHE);
  await cache.put(request, response);
  const keys = await cache.keys();
  await Promise.all(keys.slice(0, Math.max(0, keys.length - KEEP)).map((key) => cache.delete(key)));
}
/** Names with a hash never change what they hold. */
async function assetFirst(event) {
  const kept = await caches.match(event.request);
  if (kept) return kept;
  const response = await fetch(event.request);
  event.waitUntil(keep(event.request, response.clone()));
  return response;
}
async function serverFirst(event) {
  try {
    const response = await fetch(event.request);
    event.waitUntil(keep(event.request, response.clone()));
    return response;
  } catch (error) {
    const kept = await caches.match(event.request);
    if (kept) return kept;
    throw error;
  }
}
/** Every chat is the same page: without the server, the one that is kept. */
async function pageFirst(event) {
  try {
    return await fetch(event.request);
  } catch (error) {
    const kept = await caches.match(scope.href);
    if (kept) return kept;
    throw error;
  }
}
self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  const inside = url.origin === scope.origin && url.pathname.startsWith(scope.pathname);
  if (event.request.method !== 'GET' || !inside) return;
  const path = url.pathname.slice(scope.pathname.length);
  if (event.request.mode === 'navigate' && /^(c|settings|admin)(\/|$)/.test(path)) {
    event.respondWith(pageFirst(event));
    return;
  }
  if (/^(assets|cmaps)\//.test(path)) event.respondWith(assetFirst(event));
  else if (/^(index\.html|boot\.js|icon\.svg|manifest\.webmanifest)?$/.test(path))
    event.respondWith(serverFirst(event));
});

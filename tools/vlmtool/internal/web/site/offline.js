// The service worker: it keeps the files of the site, beside the weights, for use without a network.
// A new version of the site replaces all of them at once.
"use strict";

const site = /* of vlmtool export */ { version: "", files: [] };
const name = `patchwork-site-${registration.scope}`;

addEventListener("install", event => event.waitUntil((async () => {
  const cache = await caches.open(`${name} ${site.version}`);
  await cache.addAll(site.files.map(file => new Request(file, { cache: "reload" })));
  await skipWaiting();
})()));

addEventListener("activate", event => event.waitUntil((async () => {
  for (const other of await caches.keys()) {
    if (other.startsWith(`${name} `) && other !== `${name} ${site.version}`) await caches.delete(other);
  }
  await clients.claim();
})()));

addEventListener("fetch", event => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || !url.href.startsWith(registration.scope) || url.pathname.includes("/weights/")) return;
  event.respondWith((async () => {
    const cache = await caches.open(`${name} ${site.version}`);
    return await cache.match(event.request, { ignoreSearch: true }) ?? fetch(event.request);
  })());
});

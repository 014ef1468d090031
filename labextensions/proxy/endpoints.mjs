// A request to a served model, /endpoints/TENANT/SLUG/…: its route is looked up by its name, and undici carries it on. What
// configurable-http-proxy does for every other path (walk a tree of routes, node's own client, note the activity twice) costs a
// small model a third of its requests a second (figure P6).
import { Pool } from 'undici';

// whatever has to be decoded or resolved first goes the usual way
const PLAIN = /^(\/endpoints\/[\w~-]+\/[\w~-]+)(?:[/?][\w~/?=&,:-]*)?$/;
// between two neighbours, never passed on (RFC 9110 §7.6.1); node and undici say their own. `expect` is answered already.
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'expect']);
const ACTIVITY_MS = 1000;
const SMALL = 64 << 10;

/** The route of the proxy's own table for a plain URL of an endpoint; undefined for everything else. */
export function shortWay(routes, url) {
  const prefix = PLAIN.exec(url)?.[1];
  const route = prefix && Object.hasOwn(routes, prefix) ? routes[prefix] : undefined;
  return route && poolOf(route) ? route : undefined;
}

// A changed route is a new object; the connections of the old one are closed once they are idle.
const pools = new WeakMap();

/** Connections to a route's target; null when the usual way has to find it (TLS, sockets of files, a path of its own). */
function poolOf(route) {
  let pool = pools.get(route);
  if (pool === undefined) {
    const target = URL.canParse(route.target) ? new URL(route.target) : null;
    // a model may take its time; it is the client who gives up
    pool = target?.protocol === 'http:' && target.pathname === '/' ? new Pool(target.origin, { headersTimeout: 0, bodyTimeout: 0 }) : null;
    pools.set(route, pool);
  }
  return pool;
}

/** Answers `req` with what the route's target answers. */
export function passOn(proxy, route, req, res) {
  proxy.metrics.requestsWebCount.inc();
  const send = body => {
    const request = { method: req.method, path: req.url, headers: headersOf(req), body };
    pools.get(route).dispatch(request, new Answer(proxy, route, req, res));
  };
  const length = Number(req.headers['content-length'] ?? 0);
  if (req.headers['transfer-encoding'] !== undefined || length > SMALL) send(req);
  else if (length === 0) send(null);
  else gather(req, send);
}

/** Calls `send` with the whole body: to read a stream costs undici more than a small request itself. */
function gather(req, send) {
  const pieces = [];
  req.on('data', piece => pieces.push(piece));
  req.on('end', () => send(pieces.length === 1 ? pieces[0] : Buffer.concat(pieces)));
}

/** [name, value, …], with the X-Forwarded headers that configurable-http-proxy adds. */
function headersOf(req) {
  const named = (req.headers.connection ?? '').toLowerCase();
  const sent = [];
  const raw = req.rawHeaders;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i].toLowerCase();
    if (HOP_BY_HOP.has(name) || name.startsWith('x-forwarded-')) continue;
    if (named.includes(name) && named.split(/\s*,\s*/).includes(name)) continue;
    sent.push(name, raw[i + 1]);
  }
  const host = req.headers.host ?? '';
  const secure = Boolean(req.socket.encrypted);
  const add = (name, value) => sent.push(name, req.headers[name] ? `${req.headers[name]},${value}` : value);
  add('x-forwarded-for', req.socket.remoteAddress);
  add('x-forwarded-port', /:(\d+)$/.exec(host)?.[1] ?? (secure ? '443' : '80'));
  add('x-forwarded-proto', secure ? 'https' : 'http');
  sent.push('x-forwarded-host', req.headers['x-forwarded-host'] ?? host);
  return sent;
}

/** Takes the target's answer from undici and gives it to the client. */
class Answer {
  constructor(proxy, route, req, res) {
    Object.assign(this, { proxy, route, req, res, whole: undefined, length: -1 });
  }

  onRequestStart(controller) {
    if (this.res.destroyed) return controller.abort(new Error('the client went away'));
    this.res.on('close', () => {
      if (!this.res.writableFinished) controller.abort(new Error('the client went away'));
    });
  }

  onResponseStart(controller, status, headers, words) {
    // 100 and 103 are of interest to the client only when they come in time, and node says the first by itself
    if (status < 200) return;
    const raw = controller.rawHeaders;
    const kept = [];
    for (let i = 0; i < raw.length; i += 2) {
      const name = raw[i].toString('latin1');
      if (!HOP_BY_HOP.has(name.toLowerCase())) kept.push(name, raw[i + 1].toString('latin1'));
    }
    this.length = Number(headers['content-length'] ?? -1);
    this.res.writeHead(status, words, kept);
    if (this.length === -1) this.res.flushHeaders();
  }

  onResponseData(controller, chunk) {
    // one packet for head and body when the body came in one
    if (chunk.length === this.length) this.whole = chunk;
    else if (!this.res.write(chunk)) {
      controller.pause();
      this.res.once('drain', () => controller.resume());
    }
  }

  onResponseEnd() {
    this.res.end(this.whole);
    this.proxy.metrics.requestsProxyCount.labels(this.res.statusCode).inc();
    const now = Date.now();
    if (this.res.statusCode < 300 && now - (this.route.last_activity ?? 0) > ACTIVITY_MS) this.route.last_activity = new Date(now);
  }

  onResponseError(_controller, error) {
    if (this.res.destroyed) return;
    if (this.res.headersSent) this.res.destroy();
    // a request that undici refuses to send, as one with two hosts, is its client's fault
    else this.proxy.handleProxyError(error.code === 'UND_ERR_INVALID_ARG' ? 400 : 503, 'web', this.req, this.res, error);
  }
}

// The platform's address: configurable-http-proxy, with a shorter way to served models.
import ConfigurableProxy from '../node_modules/configurable-http-proxy/lib/configproxy.js';
import { passOn, shortWay } from './endpoints.mjs';

const usualWay = ConfigurableProxy.prototype.handleProxyWeb;
ConfigurableProxy.prototype.handleProxyWeb = function (req, res) {
  const route = shortWay(this._routes.routes, req.url);
  return route ? passOn(this, route, req, res) : usualWay.call(this, req, res);
};

// reads the command line and listens
await import('../node_modules/configurable-http-proxy/bin/configurable-http-proxy');

// Makes Node honour the proxy variables, in versions that cannot be told to by NODE_USE_ENV_PROXY (before 22.21 and 24).
// adce names this file in NODE_OPTIONS; it needs no package, and does nothing where there is no proxy or Node has its own way.
'use strict';

if (process.env.HTTP_PROXY && !process.allowedNodeEnvironmentFlags.has('--use-env-proxy')) {
  const http = require('node:http');
  const https = require('node:https');
  const tls = require('node:tls');
  const net = require('node:net');

  const proxy = new URL(process.env.HTTP_PROXY);
  const credentials = 'Basic ' + btoa(decodeURIComponent(proxy.username) + ':' + decodeURIComponent(proxy.password));
  const around = (process.env.NO_PROXY || '').split(',').map((host) => host.trim().toLowerCase()).filter(Boolean);
  const proxyHost = proxy.hostname.replace(/^\[|\]$/g, '');
  const proxyPort = Number(proxy.port || 80);
  // What speaks to the proxy may not go through itself.
  const toProxy = new http.Agent();

  function passesBy(host, port) {
    if (host === proxyHost && port === proxyPort) return true;
    const name = host.toLowerCase();
    return around.some((known) => {
      const bare = known.replace(/^\*?\./, '');
      return known === '*' || name === bare || name.endsWith('.' + bare) || name + ':' + port === known;
    });
  }

  // `done(error, socket)`: a connection to there, in TLS if `secure`.
  function tunnel(host, port, secure, options, done) {
    const named = (host.includes(':') ? `[${host}]` : host) + ':' + port;
    const asked = http.request({
      agent: toProxy,
      host: proxyHost,
      port: proxyPort,
      method: 'CONNECT',
      path: named,
      headers: { Host: named, 'Proxy-Authorization': credentials },
    });
    asked.once('error', done);
    asked.once('connect', (answer, socket) => {
      if (answer.statusCode !== 200) {
        socket.destroy();
        return done(new Error(`the proxy answered ${answer.statusCode} to CONNECT ${named}`));
      }
      if (!secure) return done(null, socket);
      const servername = options.servername || (net.isIP(host) ? undefined : host);
      const secured = tls.connect({ ...options, path: undefined, socket, servername });
      secured.once('error', done);
      secured.once('secureConnect', () => {
        secured.removeListener('error', done);
        done(null, secured);
      });
    });
    asked.end();
  }

  // http.request, https.request, and what is built on them.
  for (const [agent, secure] of [[http.globalAgent, false], [https.globalAgent, true]]) {
    const direct = agent.createConnection.bind(agent);
    agent.createConnection = (options, done) => {
      const host = String(options.host || options.hostname || 'localhost').replace(/^\[|\]$/g, '');
      const port = Number(options.port || (secure ? 443 : 80));
      if (options.socketPath || passesBy(host, port)) return direct(options, done);
      tunnel(host, port, secure, options, done);
    };
  }

  // fetch: its dispatcher is made when it is asked for the first time, and has a slot that everybody can reach.
  const slot = Symbol.for('undici.globalDispatcher.1');
  const plainFetch = globalThis.fetch;
  if (plainFetch) {
    let ready;
    const prepare = async () => {
      // Somebody who has put a dispatcher of his own there knows why.
      if (globalThis[slot]) return;
      await plainFetch('data:,').catch(() => {});
      const Agent = globalThis[slot]?.constructor;
      if (!Agent) return;
      globalThis[slot] = new Agent({
        connect(options, done) {
          const secure = options.protocol === 'https:';
          const host = options.hostname.replace(/^\[|\]$/g, '');
          const port = Number(options.port || (secure ? 443 : 80));
          if (!passesBy(host, port)) return tunnel(host, port, secure, { servername: options.servername, ALPNProtocols: ['http/1.1'] }, done);
          const socket = secure ? tls.connect({ host, port, servername: options.servername, ALPNProtocols: ['http/1.1'] }) : net.connect({ host, port });
          socket.once('error', done);
          socket.once(secure ? 'secureConnect' : 'connect', () => {
            socket.removeListener('error', done);
            done(null, socket);
          });
        },
      });
    };
    globalThis.fetch = async function fetch(...args) {
      await (ready ??= prepare());
      return plainFetch(...args);
    };
  }
}

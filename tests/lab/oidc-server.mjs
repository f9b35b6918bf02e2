// The lab's OAuth provider: oidc-provider with a sign-in that nobody has to click through, and a control surface
// under /ctl/ with which tests make it fail, count, expire and revoke. Everything can be narrowed to one account,
// because all tests share one server and run at the same time.
//
// Usage: node oidc-server.mjs PORT; prints {"issuer": …} when it answers.
import { X509Certificate, createPublicKey } from 'node:crypto';
import http from 'node:http';
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';   // oidc-provider brings it
import { errors, Provider } from 'oidc-provider';

const issuer = `http://127.0.0.1:${Number(process.argv[2] ?? 0)}`;
const DAEMON_MAILBOX = 'alice@example.test';
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const PASSWORD = 'mailbox-pass-3';   // of every mailbox, for the password grant

// ---- what the control surface knows -------------------------------------------------------------------------

const owners = new Map();        // code, access or refresh token → account
const issued = { AccessToken: new Map(), RefreshToken: new Map() };   // account → the live values
const denied = new Set();        // accounts whose user says no
const lifetimes = new Map();     // account → seconds of an access token; '' is everybody else
const faults = [];
const hits = new Map();
const keys = { keys: [] };       // the public keys of service accounts
const thumbprints = new Map();   // client → SHA-256 of its certificate
const delegates = new Map();     // mailbox → the accounts and clients that may open it besides its own

function note(kind, token) {
  const account = token.accountId ?? DAEMON_MAILBOX;
  owners.set(token.jti, account);
  if (issued[kind]) issued[kind].set(account, (issued[kind].get(account) ?? new Set()).add(token.jti));
}

// ---- the provider -------------------------------------------------------------------------------------------

// Any port of these; the path must be one of two.
const loopback = ['127.0.0.1', 'localhost', '[::1]'].flatMap((host) => [`http://${host}/`, `http://${host}/callback`]);
const lifetime = (ctx, token) => lifetimes.get(token.accountId ?? DAEMON_MAILBOX) ?? lifetimes.get('') ?? 3600;

const provider = new Provider(issuer, {
  scopes: ['openid', 'offline_access', 'email', 'mail'],
  claims: { email: ['email'] },
  clients: [
    { client_id: 'native-public', application_type: 'native', token_endpoint_auth_method: 'none',
      redirect_uris: loopback, grant_types: ['authorization_code', 'refresh_token', DEVICE], response_types: ['code'] },
    { client_id: 'confidential', client_secret: 'confidential-secret', application_type: 'native',
      token_endpoint_auth_method: 'client_secret_post', redirect_uris: loopback,
      grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'] },
    { client_id: 'daemon', client_secret: 'daemon-secret', token_endpoint_auth_method: 'client_secret_post',
      redirect_uris: [], grant_types: ['client_credentials'], response_types: [] },
    { client_id: 'service-account', token_endpoint_auth_method: 'none',
      redirect_uris: [], grant_types: [JWT_BEARER], response_types: [] },
    { client_id: 'legacy', token_endpoint_auth_method: 'none',
      redirect_uris: [], grant_types: ['password', 'refresh_token'], response_types: [] },
    { client_id: 'dovecot', client_secret: 'dovecot-secret', redirect_uris: [], grant_types: [], response_types: [] },
  ],
  findAccount: async (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id, email: id }) }),
  // Dovecot compares this with the user name of the SASL exchange. A daemon has no user of its own.
  extraTokenClaims: async (ctx, token) => ({ email: token.accountId ?? DAEMON_MAILBOX }),
  extraParams: ['login_hint'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: { enabled: false },   // with them tokens become JWTs, which introspection refuses
  },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  issueRefreshToken: async (ctx, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  pkce: { required: () => true },
  cookies: { keys: ['of no importance'] },
  ttl: { AccessToken: lifetime, ClientCredentials: lifetime, RefreshToken: 86400, AuthorizationCode: 60,
    DeviceCode: 600, Grant: 86400, Session: 86400, Interaction: 300, IdToken: 3600 },
});
provider.on('server_error', (ctx, error) => console.error(error));
provider.on('grant.error', (ctx, error) => console.error('grant.error', error.error, error.error_detail));
provider.on('authorization_code.saved', (token) => note('AuthorizationCode', token));
provider.on('access_token.saved', (token) => note('AccessToken', token));
provider.on('client_credentials.saved', (token) => note('AccessToken', token));
provider.on('refresh_token.saved', (token) => note('RefreshToken', token));

// ---- grants that oidc-provider does not have -----------------------------------------------------------------

async function granted(account, clientId, scope) {
  const grant = new provider.Grant({ accountId: account, clientId });
  grant.addOIDCScope(scope);
  return grant.save();
}

async function tokens(ctx, account, gty, scope, withRefresh) {
  const client = ctx.oidc.client;
  const common = { accountId: account, client, grantId: await granted(account, client.clientId, scope), scope, gty };
  const access = new provider.AccessToken(common);
  const body = { access_token: await access.save(), token_type: 'Bearer', expires_in: access.expiration, scope };
  if (withRefresh) body.refresh_token = await new provider.RefreshToken(common).save();
  ctx.body = body;
}

const refused = (words) => new errors.CustomOIDCProviderError('invalid_grant', words);

// As Google has it: the service account signs (RS256) for the mailbox in sub, for an hour at most; no client id comes.
provider.registerGrantType(JWT_BEARER, async (ctx) => {
  const { assertion } = ctx.oidc.params;
  const { payload, protectedHeader } = await jwtVerify(assertion, createLocalJWKSet(keys), {
    algorithms: ['RS256'], audience: `${issuer}/token`, requiredClaims: ['iss', 'sub', 'scope', 'iat', 'exp'],
  }).catch((error) => { throw refused(`Invalid JWT: ${error.code ?? error.message}`); });
  if (!protectedHeader.kid || !payload.iss.endsWith('.iam.gserviceaccount.com')) throw refused('Invalid issuer');
  if (payload.exp - payload.iat > 3600) throw refused('Invalid JWT: exp is too far');
  await tokens(ctx, payload.sub, 'jwt_bearer', payload.scope, false);
}, ['assertion']);

provider.registerGrantType('password', async (ctx) => {
  const { username, password, scope } = ctx.oidc.params;
  if (password !== PASSWORD) throw refused('AADSTS50126: Error validating credentials due to invalid username or password.');
  await tokens(ctx, username, 'password', scope, true);
}, ['username', 'password', 'scope']);

// The user: signs in as whom the login hint names, and consents to everything unless told to say no.
async function interaction(req, res) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(req, res);
  const account = session?.accountId ?? params.login_hint ?? DAEMON_MAILBOX;
  const finish = (result, merge) =>
    provider.interactionFinished(req, res, result, { mergeWithLastSubmission: merge });
  if (denied.has(account)) return finish({ error: 'access_denied', error_description: 'the user said no' }, false);
  if (prompt.name === 'login') return finish({ login: { accountId: params.login_hint ?? account } }, false);
  const grant = (grantId && await provider.Grant.find(grantId))
    || new provider.Grant({ accountId: account, clientId: params.client_id });
  grant.addOIDCScope((prompt.details.missingOIDCScope ?? []).join(' '));
  grant.addOIDCClaims(prompt.details.missingOIDCClaims ?? []);
  return finish({ consent: { grantId: await grant.save() } }, true);
}

// ---- control ------------------------------------------------------------------------------------------------

const control = {
  // {path, account?, grant_type?, count, status, headers, body, delay_ms, drop}; count -1: until /ctl/heal
  fault: (order) => { faults.push({ count: 1, ...order }); },
  heal: ({ account }) => {
    const others = account ? faults.filter((fault) => fault.account !== account) : [];
    faults.splice(0, faults.length, ...others);
  },
  // "/token", "/token refresh_token", "/token refresh_token alice@example.test" → number of requests
  stats: () => Object.fromEntries(hits),
  'access-token-ttl': ({ account, seconds }) => { lifetimes.set(account ?? '', seconds); },
  // The key of a service account, by its name.
  'service-key': ({ public_key, kid }) => {
    keys.keys.push({ ...createPublicKey(public_key).export({ format: 'jwk' }), kid, alg: 'RS256' });
  },
  // A new client that proves itself with a certificate.
  'certificate-client': async ({ client_id, certificate }) => {
    const { publicKey, fingerprint256 } = new X509Certificate(certificate);
    thumbprints.set(client_id, Buffer.from(fingerprint256.replaceAll(':', ''), 'hex').toString('base64url'));
    await provider.Client.adapter.upsert(client_id, {
      client_id, token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'PS256',
      jwks: { keys: [publicKey.export({ format: 'jwk' })] },
      redirect_uris: [], grant_types: ['client_credentials'], response_types: [],
    });
  },
  // From now on tokens of this account or client open another's mailbox, too.
  delegate: ({ mailbox, to }) => { delegates.set(mailbox, (delegates.get(mailbox) ?? new Set()).add(to)); },
  // The person with the other device: types the code, and signs in as account or declines.
  device: async ({ user_code, account, deny }) => {
    const code = await provider.DeviceCode.findByUserCode(user_code.replace(/[^A-Z0-9]/gi, '').toUpperCase());
    if (deny) Object.assign(code, { error: 'access_denied', errorDescription: 'the user said no' });
    else Object.assign(code, { accountId: account, scope: code.params.scope, authTime: Math.floor(Date.now() / 1000),
      grantId: await granted(account, code.clientId, code.params.scope) });
    await code.save();
  },
  deny: ({ account, deny }) => { denied[deny ? 'add' : 'delete'](account); },
  // Every refresh from now on is invalid_grant, and the access tokens die with it.
  'revoke-grant': async ({ account }) => { await kill('AccessToken', account); await kill('RefreshToken', account); },
  'kill-access-tokens': ({ account }) => kill('AccessToken', account),
  // How many of the account's access tokens a mail server would still take.
  'live-access-tokens': async ({ account }) => {
    const tokens = await Promise.all([...issued.AccessToken.get(account) ?? []]
      .map((value) => provider.AccessToken.find(value)));
    return { live: tokens.filter((token) => token && !token.isExpired).length };
  },
  // Every token that the account got and that still stands.
  tokens: ({ account }) => ({ tokens: Object.values(issued).flatMap((kind) => [...kind.get(account) ?? []]) }),
  // A token for a test that talks to the servers itself.
  issue: async ({ account }) => {
    const client = await provider.Client.find('native-public');
    const grant = new provider.Grant({ accountId: account, clientId: client.clientId });
    grant.addOIDCScope('mail');
    const grantId = await grant.save();
    const token = new provider.AccessToken({ accountId: account, client, grantId, scope: 'mail',
      gty: 'authorization_code', expiresIn: 86400 });
    return { access_token: await token.save() };
  },
};

async function kill(kind, account) {
  const values = [...issued[kind].get(account) ?? []];
  for (const value of values) {
    const token = await provider[kind].find(value)
      ?? (kind === 'AccessToken' ? await provider.ClientCredentials.find(value) : undefined);
    await token?.destroy();
  }
  issued[kind].delete(account);
  return { killed: values.length };
}

// ---- the server ---------------------------------------------------------------------------------------------

async function read(req) {
  const parts = [];
  for await (const part of req) parts.push(part);
  return Buffer.concat(parts).toString();
}

function answer(res, status, body, headers = {}) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  res.writeHead(status, { 'content-type': 'application/json', ...headers });
  res.end(text);
}

async function obeyed(req, res, name) {
  const body = await read(req);
  if (!control[name]) return answer(res, 404, {});
  return answer(res, 200, await control[name](body ? JSON.parse(body) : {}) ?? {});
}

function count(words) {
  words.reduce((path, word) => {
    const key = path ? `${path} ${word}` : word;
    hits.set(key, (hits.get(key) ?? 0) + 1);
    return key;
  }, '');
}

// Does what the first fitting fault says. False: nothing was wrong, or it was only slow.
async function failed(req, res, request) {
  const index = faults.findIndex((fault) =>
    ['path', 'account', 'grant_type'].every((key) => fault[key] === undefined || fault[key] === request[key]));
  if (index < 0) return false;
  const fault = faults[index];
  fault.count -= 1;
  if (fault.count === 0) faults.splice(index, 1);
  if (fault.delay_ms) await new Promise((resolve) => setTimeout(resolve, fault.delay_ms));
  if (fault.drop) req.socket.destroy();
  else if (fault.status) answer(res, fault.status, fault.body ?? {}, fault.headers);
  else return false;
  return true;
}

// What Entra looks at besides the signature, which oidc-provider checks: a reason to refuse, or nothing.
function faultOfAssertion({ client_id, client_assertion, client_assertion_type }) {
  if (!client_assertion) return undefined;
  const header = decodeProtectedHeader(client_assertion);
  const { aud, iss, sub, jti, nbf, exp } = decodeJwt(client_assertion);
  if (client_assertion_type !== 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer') return 'type';
  if (header.alg !== 'PS256' || header.typ !== 'JWT') return 'alg';
  if (header['x5t#S256'] !== thumbprints.get(client_id)) return 'x5t#S256';
  if (aud !== `${issuer}/token` || iss !== client_id || sub !== client_id || !jti) return 'claims';
  return exp - nbf >= 300 && exp - nbf <= 600 ? undefined : 'time';
}

// The mailbox that an unverified assertion is about, for counting only.
function subject({ grant_type, assertion, username }) {
  if (grant_type !== JWT_BEARER) return username;
  return JSON.parse(Buffer.from(assertion.split('.')[1], 'base64url')).sub;
}

// What Dovecot asks about a mailbox that others may open: whether this token is one of theirs.
async function openedByDelegate(req, res, mailbox) {
  const value = new URLSearchParams(await read(req)).get('token') ?? '';
  const token = await provider.AccessToken.find(value) ?? await provider.ClientCredentials.find(value);
  const active = Boolean(token) && !token.isExpired
    && (delegates.get(mailbox)?.has(token.accountId ?? token.clientId) ?? false);
  return answer(res, 200, active ? { active, email: mailbox } : { active });
}

const callback = provider.callback();
async function route(req, res) {
  const { pathname } = new URL(req.url, issuer);
  if (pathname.startsWith('/ctl/')) return obeyed(req, res, pathname.slice('/ctl/'.length));
  if (pathname.startsWith('/shared/')) return openedByDelegate(req, res, pathname.slice('/shared/'.length));
  const request = { path: pathname };
  if (['/token', '/token/revocation'].includes(pathname) && req.method === 'POST') {
    req.body = Object.fromEntries(new URLSearchParams(await read(req)));   // oidc-provider takes a parsed body
    if (req.body.grant_type) request.grant_type = req.body.grant_type;
    if (request.grant_type === JWT_BEARER) req.body.client_id ??= 'service-account';   // Google's comes without
    request.account = owners.get(req.body.refresh_token ?? req.body.code ?? req.body.token) ?? subject(req.body) ?? DAEMON_MAILBOX;
  }
  count(Object.values(request));
  if (await failed(req, res, request)) return undefined;
  const fault = faultOfAssertion(req.body ?? {});
  if (fault) {
    return answer(res, 401, { error: 'invalid_client', error_description: `AADSTS700027: the assertion's ${fault}` });
  }
  if (pathname.startsWith('/interaction/')) return interaction(req, res);
  return callback(req, res);
}

const server = http.createServer((req, res) => route(req, res).catch((error) => {
  console.error(error);
  answer(res, 500, { error: String(error) });
}));
server.listen(Number(new URL(issuer).port), '127.0.0.1', () => console.log(JSON.stringify({ issuer })));
process.on('SIGTERM', () => { server.closeAllConnections(); server.close(() => process.exit(0)); });

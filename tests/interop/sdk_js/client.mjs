// Speaks with a SecureA2AServer as any JavaScript program would; prints one JSON object of what it saw.
import { verifyAgentCardSignature } from '@a2a-js/sdk';
import { ClientFactory, DefaultAgentCardResolver, JsonRpcTransportFactory, RestTransportFactory } from '@a2a-js/sdk/client';
import { GrpcTransportFactory } from '@a2a-js/sdk/client/grpc';
import * as grpc from '@grpc/grpc-js';
import * as jose from 'jose';
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

console.debug = () => {};
const [base, binding, version, token = ''] = process.argv.slice(2);
const shown = token ? { authorization: `Bearer ${token}` } : {};
const authorized = (input, init = {}) => {
  const headers = new Headers(init.headers);
  for (const [name, value] of Object.entries(shown)) headers.set(name, value);
  return fetch(input, { ...init, headers });
};
const interceptor = (options, next) => new grpc.InterceptingCall(next(options), {
  start(metadata, listener, forward) {
    for (const [name, value] of Object.entries(shown)) metadata.set(name, value);
    forward(metadata, listener);
  },
});
const legacyCompat = { enabled: version === '0.3' };
const transports = {
  'JSONRPC': () => new JsonRpcTransportFactory({ fetchImpl: authorized, legacyCompat }),
  'HTTP+JSON': () => new RestTransportFactory({ fetchImpl: authorized, legacyCompat }),
  'GRPC': () => new GrpcTransportFactory({
    grpcChannelCredentials: grpc.credentials.createInsecure(),
    grpcCallOptions: { interceptors: [interceptor] },
    legacyCompat,
  }),
};
const failure = async (promise) => { try { await promise; return 'none'; } catch (e) { return e.name; } };
const all = async (events, stop = () => false) => {
  const seen = [];
  for await (const event of events) { seen.push(event); if (stop(event)) break; }
  return seen;
};
const saying = (text, more = {}, configuration = {}) => ({
  tenant: '',
  message: {
    messageId: randomUUID(), role: 1, contextId: '', taskId: '', extensions: [], referenceTaskIds: [],
    parts: [{ content: { $case: 'text', value: text }, mediaType: '', filename: '' }],
    ...more,
  },
  configuration: { acceptedOutputModes: [], returnImmediately: false, ...configuration },
});
const kindOf = (event) => event.payload?.$case;
const stateOf = (event) => event.payload?.value?.status?.state;

const seen = {};
const raw = await (await fetch(`${base}/.well-known/agent-card.json`)).json();
const keys = (await (await fetch(`${base}/.well-known/jwks.json`)).json()).keys;
const verify = verifyAgentCardSignature(async (kid) => jose.importJWK(keys.find((key) => key.kid === kid)));
seen.signed = await failure(verify(raw));
seen.altered = await failure(verify({ ...raw, description: 'Another agent.' }));

const card = await new DefaultAgentCardResolver().resolve(base);
card.supportedInterfaces = card.supportedInterfaces.filter(
  (one) => one.protocolBinding === binding && one.protocolVersion === version);
const factory = new ClientFactory({ transports: [transports[binding]()], preferredTransports: [binding] });
const client = await factory.createFromAgentCard(card);

const worked = await client.sendMessage(saying('work for me'));
const id = worked.id ?? worked.payload?.value?.id;
seen.got = await client.getTask({ tenant: '', id, historyLength: 1 });
seen.greeting = await client.sendMessage(saying('greet me'));
seen.counted = (await all(client.sendMessageStream(saying('count')))).map((event) => [kindOf(event), stateOf(event)]);
const asked = await client.sendMessage(saying('ask me'));
const more = { taskId: asked.id, contextId: asked.contextId };
seen.asked = asked.status.state;
seen.answered = (await client.sendMessage(saying('done', more))).status;
if (version === '1.0') {
  // A program may leave out what it does not want to say, except over gRPC.
  const unsaid = binding === 'GRPC' ? { status: 0, pageToken: '', includeArtifacts: false } : {};
  const page = await client.listTasks({ tenant: '', contextId: asked.contextId, pageSize: 5, ...unsaid });
  seen.listed = page.tasks.map((task) => task.id === asked.id);
}

// A stream that is left, a subscription that goes on, and an end for it.
const left = await all(client.sendMessageStream(saying('wait')), (event) => kindOf(event) === 'task');
const waiting = left[0].payload.value.id;
const following = all(client.resubscribeTask({ tenant: '', id: waiting }));
await new Promise((go) => setTimeout(go, 300));
seen.cancelled = (await client.cancelTask({ tenant: '', id: waiting })).status.state;
seen.followed = (await following).map((event) => [kindOf(event), stateOf(event)]);

seen.errors = [
  await failure(client.getTask({ tenant: '', id: randomUUID() })),
  await failure(client.cancelTask({ tenant: '', id })),
  await failure(client.sendMessage(saying('again', { taskId: id }))),
  await failure(all(client.resubscribeTask({ tenant: '', id }))),
];

// The official adapter of 0.3 does not find the task in what this SDK posts over HTTP+JSON.
if (binding !== 'HTTP+JSON' || version === '1.0') await push();

async function push() {
  const came = [];
  const hook = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => { came.push([request.headers, JSON.parse(Buffer.concat(chunks))]); response.end(); });
  });
  await new Promise((ready) => hook.listen(0, '127.0.0.1', ready));
  const url = `http://127.0.0.1:${hook.address().port}/hook`;
  const watched = await client.sendMessage(saying('ask'));
  const config = { tenant: '', id: 'mine', taskId: watched.id, url, token: 't-1', authentication: undefined };
  const made = await client.createTaskPushNotificationConfig(config);
  const fetched = await client.getTaskPushNotificationConfig({ tenant: '', taskId: watched.id, id: 'mine' });
  seen.config = [made.url === url, fetched.url === url];
  await client.sendMessage(saying('done', { taskId: watched.id, contextId: watched.contextId }));
  for (let turn = 0; turn < 100 && !JSON.stringify(came).includes('COMPLETED'); turn += 1) {
    await new Promise((go) => setTimeout(go, 100));
  }
  seen.pushed = came.map(([headers, body]) => [headers['x-a2a-notification-token'], body]);
  if (version === '1.0') {
    const of = { tenant: '', taskId: watched.id };
    seen.configs = (await client.listTaskPushNotificationConfig({ ...of, pageSize: 5, pageToken: '' })).configs.length;
    await client.deleteTaskPushNotificationConfig({ ...of, id: 'mine' });
    seen.configsLeft = (await client.listTaskPushNotificationConfig({ ...of, pageSize: 5, pageToken: '' })).configs.length;
  }
  hook.close();
}
console.log(JSON.stringify(seen, (_, value) => (typeof value === 'bigint' ? Number(value) : value)));
process.exit(0);

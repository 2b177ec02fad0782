// Speaks with a Hive node as any JavaScript program would; prints one JSON object of what it saw.
import { ClientFactory, DefaultAgentCardResolver, JsonRpcTransportFactory, RestTransportFactory } from '@a2a-js/sdk/client';
import { randomUUID } from 'node:crypto';

const [base, token, binding, streamed = 'go'] = process.argv.slice(2);
const authorized = (input, init = {}) => {
  const headers = new Headers(init.headers);
  headers.set('authorization', `Bearer ${token}`);
  return fetch(input, { ...init, headers });
};
const transport = binding === 'HTTP+JSON' ? RestTransportFactory : JsonRpcTransportFactory;
const factory = new ClientFactory({
  cardResolver: new DefaultAgentCardResolver({ fetchImpl: authorized }),
  transports: [new transport({ fetchImpl: authorized })],
  preferredTransports: [binding],
});
const client = (agent) => factory.createFromUrl(`${base}/a2a/${agent}/`, '.well-known/agent-card.json');
const saying = (text, more = {}, configuration = {}) => ({
  tenant: '',
  message: {
    messageId: randomUUID(), role: 1, contextId: '', taskId: '', extensions: [], referenceTaskIds: [],
    parts: [{ content: { $case: 'text', value: text }, mediaType: '', filename: '' }],
    ...more,
  },
  configuration: { acceptedOutputModes: [], returnImmediately: false, ...configuration },
});
const failure = async (promise) => { try { await promise; return 'none'; } catch (e) { return e.name; } };

const seen = {};
const echo = await client('echo');
seen.echo = await echo.sendMessage(saying('hello'));
seen.events = [];
for await (const event of (await client('streamer')).sendMessageStream(saying(streamed))) seen.events.push(event);
const asker = await client('asker');
const first = await asker.sendMessage(saying('start'));
const id = first.id ?? first.payload?.value?.id ?? first.task?.id;
seen.second = await asker.sendMessage(saying('Ada', { taskId: id }));
seen.got = await asker.getTask({ tenant: '', id, historyLength: 1 });
seen.cancel = await failure(asker.cancelTask({ tenant: '', id }));
seen.missing = await failure(asker.getTask({ tenant: '', id: randomUUID() }));
console.log(JSON.stringify(seen));

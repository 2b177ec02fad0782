// Verifies and signs agent cards with the official SDK; one JSON request on stdin, one answer on stdout.
import { generateAgentCardSignature, verifyAgentCardSignature, canonicalizeAgentCard, AgentCard } from '@a2a-js/sdk';
import * as jose from 'jose';

console.debug = () => {};
const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { verify = [], sign = [] } = JSON.parse(Buffer.concat(chunks).toString());
const answer = { verified: [], canonical: [], signed: [] };
for (const { card, keys } of verify) {
  const check = verifyAgentCardSignature(async (kid) => {
    const jwk = keys.find((key) => key.kid === kid);
    if (!jwk) throw new Error('unknown kid');
    return jose.importJWK(jwk, jwk.alg);
  });
  try { await check(card); answer.verified.push(true); } catch { answer.verified.push(false); }
  answer.canonical.push(canonicalizeAgentCard(card));
}
for (const { card, alg, kid, inner = false } of sign) {
  const { publicKey, privateKey } = await jose.generateKeyPair(alg, { extractable: true });
  const signer = generateAgentCardSignature(privateKey, { alg, kid, typ: 'JOSE' });
  // The signer takes a card as it goes over the wire; `inner` gives it the SDK's own form instead.
  const signed = inner ? AgentCard.toJSON(await signer(AgentCard.fromJSON(card))) : await signer(card);
  answer.signed.push({ card: signed, key: { ...await jose.exportJWK(publicKey), kid, alg } });
}
console.log(JSON.stringify(answer));

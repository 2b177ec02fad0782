// A certified OpenID provider on a free port, for the SDK's clients and authenticators; prints its address.
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const clients = JSON.parse(process.argv[2]);
const audience = process.argv[3];
const server = createServer();
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients,
  scopes: ["openid", "a2a:call"],
  clientAuthMethods: ["client_secret_basic", "client_secret_post", "private_key_jwt"],
  enabledJWA: { clientAuthSigningAlgValues: ["ES256", "Ed25519", "EdDSA"] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true, allowedPolicy: () => true },
    dPoP: {
      enabled: true,
      nonceSecret: Buffer.alloc(32, 7),
      requireNonce: () => true,
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      getResourceServerInfo: (_ctx, resource) => ({
        scope: "a2a:call",
        audience: resource,
        accessTokenTTL: 600,
        accessTokenFormat: resource.endsWith("/opaque") ? "opaque" : "jwt",
        jwt: { sign: { alg: "ES256" } },
      }),
    },
  },
  jwks: { keys: [JSON.parse(process.argv[4])] },
});
server.on("request", provider.callback());
console.log(issuer);

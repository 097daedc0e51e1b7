// oidc-provider with one client, and nothing but what introspection needs. Prints where it listens; a GET of
// /sample answers with access tokens, one a line, and /basic with the client's credentials.
import http from 'node:http';
import Provider from 'oidc-provider';

const TOKENS = 200;
const client = { client_id: 'bench', client_secret: 'a-client-secret-of-more-than-32-bytes' };
const basic = Buffer.from(`${client.client_id}:${client.client_secret}`).toString('base64');

const server = http.createServer();
server.listen(0, '127.0.0.1', async () => {
  const address = `127.0.0.1:${server.address().port}`;
  const provider = new Provider(`http://${address}`, {
    clients: [{ ...client, grant_types: ['client_credentials'], redirect_uris: [], response_types: [] }],
    features: {
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      devInteractions: { enabled: false },
    },
    ttl: { ClientCredentials: 3600 },
  });
  const tokens = [];
  const answer = provider.callback();
  server.on('request', (request, response) => {
    if (request.url === '/sample') return response.end(tokens.join('\n'));
    if (request.url === '/basic') return response.end(basic);
    return answer(request, response);
  });
  const headers = { authorization: `Basic ${basic}`, 'content-type': 'application/x-www-form-urlencoded' };
  for (let n = 0; n < TOKENS; n += 1) {
    const minted = await fetch(`http://${address}/token`, {
      method: 'POST', headers, body: 'grant_type=client_credentials',
    });
    const { access_token: token } = await minted.json();
    if (!token) throw new Error('no token was minted');
    tokens.push(token);
  }
  console.log(`listening on http://${address}`);
});

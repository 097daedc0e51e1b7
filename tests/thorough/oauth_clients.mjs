// Discovery, introspection and revocation as two OAuth client libraries have them. Run by parts/oauth.py in a
// folder where both are installed: node oauth_clients.mjs ISSUER CLIENT SECRET TOKEN TOKEN
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'

const [issuer, name, secret, first, second] = process.argv.slice(2)
const insecure = { [oauth.allowInsecureRequests]: true }

function check(what, got, wanted) {
  const fine = JSON.stringify(got) === JSON.stringify(wanted)
  console.log(fine ? `ok ${what}` : `FAIL ${what}: wanted ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`)
}

{
  const url = new URL(issuer)
  const server = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...insecure }))
  check('oauth4webapi: discovers the issuer', server.issuer, issuer)
  const client = { client_id: name }
  for (const [how, auth] of [['basic', oauth.ClientSecretBasic(secret)], ['post', oauth.ClientSecretPost(secret)]]) {
    const ask = async (token) => oauth.processIntrospectionResponse(server, client, await oauth.introspectionRequest(server, client, auth, token, insecure))
    check(`oauth4webapi: introspects by ${how}`, (await ask(first)).active, true)
    check(`oauth4webapi: a wrong token by ${how}`, await ask('nonsense'), { active: false })
  }
  const auth = oauth.ClientSecretBasic(secret)
  await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, auth, first, insecure))
  const gone = await oauth.processIntrospectionResponse(server, client, await oauth.introspectionRequest(server, client, auth, first, insecure))
  check('oauth4webapi: revokes', gone, { active: false })
  const refused = await oauth.introspectionRequest(server, client, oauth.ClientSecretBasic('wrong'), second, insecure)
  let why
  try { await oauth.processIntrospectionResponse(server, client, refused) } catch (error) { why = error.constructor.name }
  check('oauth4webapi: a wrong secret', [refused.status, why === 'WWWAuthenticateChallengeError' || why === 'ResponseBodyError'], [401, true])
}
{
  const config = await openid.discovery(new URL(issuer), name, undefined, openid.ClientSecretBasic(secret), { algorithm: 'oauth2', execute: [openid.allowInsecureRequests] })
  check('openid-client: discovers the issuer', config.serverMetadata().issuer, issuer)
  const active = await openid.tokenIntrospection(config, second)
  check('openid-client: introspects', [active.active, active.token_type, active.iss], [true, 'Bearer', issuer])
  await openid.tokenRevocation(config, second)
  check('openid-client: revokes', await openid.tokenIntrospection(config, second), { active: false })
  await openid.tokenRevocation(config, 'nonsense')
  check('openid-client: revokes what is no token', true, true)
}

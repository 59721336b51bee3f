// A PLC directory (in memory) and N reference PDSes on loopback, in one process.
//
//   node net.mjs [--pds 2] [--port 2582] [--dir D] [--dns 127.0.0.1:5353] [--ratelimits]
//                [--bloblimit BYTES] [--lexauthority DID] [--plc URL] [--first 1]
//
// The PLC listens at PORT, PDS number k at PORT + k. Prints one JSON line when all are ready; stops
// when its standard input ends, on SIGTERM or on SIGINT. One server to a process, so that it can be
// killed and restarted: `--pds 0` is the PLC alone; `--plc URL --pds 1 --port P --first I` is PDS
// number I alone, at port P + 1.
import dns from 'node:dns'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { createHash } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { parseArgs } from 'node:util'

process.env.LOG_ENABLED ??= 'false'

// Both servers call listen(port), which would take every interface: keep to loopback.
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port, ...rest) {
  const args = typeof port === 'number' ? [port, '127.0.0.1', ...rest] : [port, ...rest]
  return listen.call(this, ...args)
}

const { PDS } = await import('@atproto/pds')
const { default: plc } = await import('@did-plc/server')

const { values: options } = parseArgs({
  options: {
    pds: { type: 'string', default: '2' },
    port: { type: 'string', default: '2582' },
    dir: { type: 'string' },
    dns: { type: 'string' },
    ratelimits: { type: 'boolean' },
    bloblimit: { type: 'string' },
    lexauthority: { type: 'string' },
    plc: { type: 'string' },
    first: { type: 'string', default: '1' },
  },
})

// The PDSes then find _atproto.* and _lexicon.* TXT records at the test's own DNS server.
if (options.dns) {
  dns.setServers([options.dns])
  dns.promises.setServers([options.dns])
  syncBuiltinESMExports()
}

const dir = options.dir ?? fs.mkdtempSync(path.join(os.tmpdir(), 'atd-net-'))
const base = Number(options.port)
const first = Number(options.first)
const plcUrl = options.plc ?? `http://localhost:${base}`
const plcServer = options.plc
  ? null
  : plc.PlcServer.create({ db: plc.Database.mock(), port: base })
await plcServer?.start()

async function startPds(number, port) {
  const dataDirectory = path.join(dir, `pds${number}`)
  fs.mkdirSync(dataDirectory, { recursive: true })
  const rotationKey = createHash('sha256').update(`rotation key of test PDS ${number}`)
  const server = await PDS.fromEnv({
    devMode: true,
    port,
    hostname: 'localhost',
    serviceDid: `did:web:localhost%3A${port}`,
    dataDirectory,
    didPlcUrl: plcUrl,
    blobstoreDiskLocation: path.join(dataDirectory, 'blobs'),
    blobUploadLimit: options.bloblimit && Number(options.bloblimit),
    inviteRequired: false,
    // Each PDS owns its own domain: one that owned the bare .test would deny the other's handles.
    serviceHandleDomains: [`.pds${number}.test`],
    adminPassword: 'admin-pass',
    jwtSecret: 'jwt-secret',
    lexiconDidAuthority: options.lexauthority,
    plcRotationKeyK256PrivateKeyHex: rotationKey.digest('hex'),
    rateLimitsEnabled: options.ratelimits,
    rateLimitBypassKey: options.ratelimits && 'bypass',
  })
  await server.start()
  return { number, url: `http://localhost:${port}`, server }
}

async function createAccount({ number, url, server }, name) {
  const handle = `${name}.pds${number}.test`
  const password = 'hunter2'
  const known = await server.ctx.accountManager.getAccount(handle)
  if (known) return { handle, did: known.did, password, pds: url }
  const reply = await fetch(`${url}/xrpc/com.atproto.server.createAccount`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ handle, password, email: `${name}@example.com` }),
  })
  const created = await reply.json()
  if (!reply.ok) throw new Error(JSON.stringify(created))
  return { handle, did: created.did, password, pds: url }
}

const servers = []
for (let k = 1; k <= Number(options.pds); k++) servers.push(await startPds(k - 1 + first, base + k))

// Without --dns each PDS finds the others' handles in-process, as /.well-known/atproto-did would.
async function findHandle(handle) {
  for (const { server } of servers) {
    const account = await server.ctx.accountManager.getAccount(handle)
    if (account) return account.did
  }
}
if (!options.dns) for (const { server } of servers) server.ctx.idResolver.handle.resolve = findHandle

const NAMES = { 1: ['alice', 'bob'], 2: ['carol', 'dave'] }
const accounts = []
for (const pds of servers)
  for (const name of NAMES[pds.number] ?? [`user${pds.number}`])
    accounts.push(await createAccount(pds, name))

const urls = servers.map(({ url }) => url)
console.log(JSON.stringify({ plcUrl, pds: urls, adminPassword: 'admin-pass', accounts, dir }))

async function stop() {
  for (const { server } of servers) await server.destroy()
  await plcServer?.destroy()
  process.exit(0)
}
process.on('SIGTERM', stop)
process.on('SIGINT', stop)
process.stdin.on('end', stop).resume()

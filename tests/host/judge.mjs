// The reference implementation as a judge: does it accept what our host serves?
//
//   node judge.mjs MODULES repo     DID KEY CAR            a whole repository: every record, the commit
//   node judge.mjs MODULES diff     DID KEY OLD_CAR CAR    an old repository and what getRepo?since gave
//   node judge.mjs MODULES proofs   DID KEY CAR CLAIMS     claims: JSON [{collection, rkey, cid|null}]
//   node judge.mjs MODULES records  DID KEY CAR            the records that a CAR proves
//   node judge.mjs MODULES firehose WS_URL DID HANDLE CURSOR|- COUNT      COUNT events, one line each
//
// MODULES is a folder with node_modules in it. KEY is a did:key, CAR a file. Answers JSON lines on
// stdout; a refusal is an exception and exit code 1. In `firehose` every commit is authenticated
// (its proof checked against the key of the DID document, resolved by the reference's did:web
// resolver), and an event that the library refuses is printed as {"refused": …}.
import fs from 'node:fs'
import http from 'node:http'
import { createRequire } from 'node:module'

const [modules, mode, ...args] = process.argv.slice(2)
const require = createRequire(`${modules}/`)
const say = (value) => console.log(JSON.stringify(value))
const read = (path) => new Uint8Array(fs.readFileSync(path))

const modes = {
  async repo(did, key, car) {
    const { verifyRepoCar } = require('@atproto/repo')
    const { creates, commit } = await verifyRepoCar(read(car), did, key)
    say({ cid: commit.cid.toString(), rev: commit.rev, records: creates.map(named) })
  },

  async diff(did, key, old, car) {
    const { MemoryBlockstore, Repo, readCarWithRoot, verifyDiffCar } = require('@atproto/repo')
    const before = await readCarWithRoot(read(old))
    const repo = await Repo.load(new MemoryBlockstore(before.blocks), before.root)
    const { writes, commit } = await verifyDiffCar(repo, read(car), did, key)
    say({ cid: commit.cid.toString(), rev: commit.rev, since: commit.since, writes: writes.map(named) })
  },

  async proofs(did, key, car, claims) {
    const { verifyProofs } = require('@atproto/repo')
    const { parseCid } = require('@atproto/lex-data')
    const parsed = JSON.parse(claims).map((claim) => ({ ...claim, cid: claim.cid && parseCid(claim.cid) }))
    const { verified, unverified } = await verifyProofs(read(car), parsed, did, key)
    say({ verified: verified.map(named), unverified: unverified.map(named) })
  },

  async records(did, key, car) {
    const { verifyRecords } = require('@atproto/repo')
    const { lexToJson } = require('@atproto/lex-json')
    for (const each of await verifyRecords(read(car), did, key)) say({ ...each, record: lexToJson(each.record) })
  },

  async firehose(url, did, handle, cursor, count) {
    const { Firehose } = require('@atproto/sync')
    const { DidWebResolver } = require('@atproto/identity')
    const resolveDid = new DidWebResolver(5000, undefined, fetch)
    let left = Number(count), next = cursor === '-' ? undefined : Number(cursor)
    const done = () => { if (--left === 0) process.exit(0) }
    const firehose = new Firehose({
      service: url,
      idResolver: { did: resolveDid, handle: { resolve: (name) => wellKnown(url, name) } },
      getCursor: () => next,
      subscriptionReconnectDelay: 200,
      onError: (error) => { say({ refused: String(error), because: String(error.cause ?? '') }); done() },
      handleEvent: (event) => {
        next = event.seq
        const { seq, event: kind, did, rev, uri, cid, commit, handle, active, record, blocks } = event
        say({ seq, kind, did, rev, uri: uri?.toString(), cid: cid?.toString(), commit: commit?.toString(), handle, active,
          record: record && require('@atproto/lex-json').lexToJson(record), blocks: blocks?.size })
        done()
      },
    })
    say({ listening: url, did, handle })
    await firehose.start()
  },
}

const named = ({ action, collection, rkey, cid }) => ({ action, collection, rkey, cid: cid?.toString() ?? null })

// what a resolver asks of https://NAME/.well-known/atproto-did, sent to the host on loopback
function wellKnown(url, name) {
  const { port } = new URL(url)
  return new Promise((resolve, reject) => {
    http.get({ host: 'localhost', port, path: '/.well-known/atproto-did', headers: { host: name } }, (res) => {
      let text = ''
      res.on('data', (data) => { text += data }).on('end', () => resolve(res.statusCode === 200 ? text.trim() : undefined))
    }).on('error', reject)
  })
}

await modes[mode](...args)

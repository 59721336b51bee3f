// Checks a proof bundle with nothing of atd: the reference repository, PLC and CBOR libraries.
//
//   node bundle.mjs FILE    prints what it found as one JSON object; exits 1 on what does not hold
import fs from 'node:fs'
import { cborDecode, cidForCbor } from '@atproto/common'
import { blocksToCarFile, readCarWithRoot, verifyProofs } from '@atproto/repo'
import { AtUri } from '@atproto/syntax'
import { validateOperationLog } from '@did-plc/lib'

const { root, blocks } = await readCarWithRoot(new Uint8Array(fs.readFileSync(process.argv[2])))
const manifest = cborDecode(blocks.get(root))
if (manifest.format !== 'atd-proof' || manifest.version !== 1) throw new Error('no bundle')

const keys = {}
for (const who of manifest.identities) {
  if (who.operations) {
    const log = who.operations.map((one) => cborDecode(blocks.get(one.operation)))
    const last = await validateOperationLog(who.did, log)
    keys[who.did] = last.verificationMethods.atproto
  } else {
    const document = JSON.parse(who.document)
    const method = document.verificationMethod.find((one) => one.id.endsWith('#atproto'))
    keys[who.did] = `did:key:${method.publicKeyMultibase}`
  }
}

const verified = []
for (const record of manifest.records) {
  const uri = new AtUri(record.uri)
  const car = await blocksToCarFile(record.commit, blocks)
  const claim = { collection: uri.collection, rkey: uri.rkey, cid: record.cid }
  const found = await verifyProofs(car, [claim], uri.hostname, keys[uri.hostname])
  if (found.verified.length !== 1) throw new Error(`not proved: ${record.uri}`)
  const value = cborDecode(blocks.get(record.cid))
  if (!(await cidForCbor(value)).equals(record.cid)) throw new Error(`not canonical: ${record.uri}`)
  verified.push({ uri: record.uri, cid: record.cid.toString(), type: value.$type })
}
console.log(JSON.stringify({ keys, verified }))

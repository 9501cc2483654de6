/**
 * A client as a process, to be killed in the middle of its sends: it tells ledgers, and spawns others, many at once and
 * numbered, and says on stdout which number is acknowledged, as soon as it knows.
 *
 *     node tests/faults/sender.ts REDIS_URL
 */
import { writeSync } from 'node:fs'
import { address, openClient, redisTransport } from '../../runtime/mod.ts'
import type { ActorAddress } from '../../runtime/mod.ts'
import { DIRECTORY } from './runtime-node.ts'

export const SENDS = 20_000
const TOLD = 24
/** Every so many sends, one brings an actor to life. */
const SPAWN_EVERY = 20
/** Under way at once. */
const AT_ONCE = 300

/** The address of send `i`, and whether it is a birth. */
export function sendOf(i: number): { readonly to: ActorAddress; readonly isSpawn: boolean } {
  const isSpawn = i % SPAWN_EVERY === 0
  return { to: address('ledger', isSpawn ? `x${i}` : `l${i % TOLD}`), isSpawn }
}

if (import.meta.main) {
  const transport = redisTransport({ url: process.argv[2] ?? '' })
  await transport.start({ shards: DIRECTORY.shards })
  const client = await openClient({ transport, directory: DIRECTORY })
  let next = 0
  const one = async (): Promise<void> => {
    while (next < SENDS) {
      const i = next++
      const { to, isSpawn } = sendOf(i)
      const pass: { readonly type: string } & Record<string, unknown> = {
        type: 'pass',
        n: `m${i}`,
        from: 'c0',
        lane: 'in',
        next: [],
      }
      await (isSpawn ? client.spawn(to, { self: to }) : client.tell(to, pass))
      writeSync(1, `${i}\n`)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, one))
  process.exit()
}

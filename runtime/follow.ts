/**
 * Following what happens: streams of rows as they come (journals, telemetry), and one actor from now to its end. Who
 * follows reads what is there, then waits for the stream's channel, which announces each addition. A ring that is lost
 * costs at most `watchdogMs`.
 */
import { shardOf } from './address.ts'
import type { ActorAddress, Directory } from './address.ts'
import { Bell } from './bell.ts'
import type { Clock } from './clock.ts'
import type { Limits } from './limits.ts'
import type { Line } from './message.ts'
import { actorSnapshot } from './read.ts'
import type { ActorSnapshot } from './read.ts'
import { decodeRecord } from './record.ts'
import { compareIds, journalStream } from './transport.ts'
import type { StreamRow, Transport } from './transport.ts'

/** `from` of a read: from the oldest that is kept, from now on, or after a position. */
export type ReadFrom = 'oldest' | 'now' | { readonly after: string }

export interface Following {
  readonly transport: Transport
  readonly clock: Clock
  readonly limits: Limits
  readonly signal: AbortSignal
}

const BATCH = 256

/** Rows after `from`; with `follow`, as they come until the signal aborts. `gap` where some after `from` were trimmed. */
export async function* follow(
  stream: string,
  from: ReadFrom,
  { transport, clock, limits, signal }: Following,
  onward: boolean,
): AsyncIterable<StreamRow | { readonly gap: true }> {
  const bell = new Bell(clock)
  const unsubscribe = onward ? await transport.subscribe(stream, () => bell.ring()) : null
  try {
    const { trimmed, newest } = await transport.ends(stream)
    let after = typeof from === 'object' ? from.after : from === 'now' ? newest : '0-0'
    if (typeof from === 'object') {
      // A position beyond the newest is of a stream that is no more: what there is now begins anew.
      const foreign = compareIds(after, newest) > 0
      if (foreign) after = '0-0'
      if (foreign || compareIds(after, trimmed) < 0) yield { gap: true }
    }
    while (!signal.aborted) {
      const rows = await transport.range(stream, after, BATCH)
      for (const row of rows) {
        yield row
        after = row.id
      }
      if (rows.length > 0) continue
      if (!onward) return
      await bell.wait(limits.watchdogMs, signal)
    }
  } finally {
    await unsubscribe?.().catch(() => {}) // a subscription dies with its connection
  }
}

/**
 * The actor as it is now, then after each commit that changed it (several changes in quick succession may be one), and
 * last as it ended. Nothing at all when there is no such actor; it also ends with the signal, and when the actor's record
 * leaves Redis.
 */
export async function* watch(
  actor: ActorAddress,
  directory: Directory,
  { transport, clock, limits, signal }: Following,
): AsyncIterable<ActorSnapshot> {
  const shard = shardOf(actor, directory)
  const stream = journalStream(shard)
  const bell = new Bell(clock)
  const unsubscribe = await transport.subscribe(stream, () => bell.ring())
  try {
    // The end of the journal first, then the record: what is committed in between is seen twice, and never missed.
    let { newest } = await transport.ends(stream)
    let seen = -1
    let isNews = true
    while (!signal.aborted) {
      if (isNews) {
        const [body] = await transport.load(shard, [actor])
        if (body === null || body === undefined) return
        const snapshot = actorSnapshot(actor, decodeRecord(body))
        // Lower than before, after a failover, is news too.
        if (snapshot.seq !== seen) yield snapshot
        seen = snapshot.seq
        if (snapshot.status !== 'active') return
      }
      const rows = await transport.range(stream, newest, BATCH)
      newest = rows.at(-1)?.id ?? newest
      isNews = rows.some(({ body }) => (JSON.parse(body) as Line[]).some((line) => line.actor === actor))
      if (rows.length > 0) continue
      await bell.wait(limits.watchdogMs, signal)
      // A journal that ends before where we stood has been lost, or has gone with its pinned shard.
      const { newest: end } = await transport.ends(stream)
      if (compareIds(end, newest) >= 0) continue
      newest = end
      isNews = true
    }
  } finally {
    await unsubscribe().catch(() => {}) // a subscription dies with its connection
  }
}

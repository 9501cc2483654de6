import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { address } from '../../runtime/address.ts'
import type { ActorAddress } from '../../runtime/address.ts'
import type { Client } from '../../runtime/client.ts'
import { Fleet, transports } from '../harness/fleet.ts'
import { contextOf, member } from './family.ts'

const watcherKind = member('watcher')
const subject = member('subject', { onError: 'stop' })
const brief = member('brief', { retentionMs: 1 })
const station = member('station', { retentionMs: 1 }, [], true)

describe.each(transports)('a watch on %s', (transport) => {
  let fleet: Fleet
  let client: Client
  let ids = 0
  beforeAll(async () => {
    fleet = await Fleet.start(transport, [watcherKind, subject, brief, station])
    await fleet.node()
    client = await fleet.client()
  })
  afterAll(() => fleet.stop())

  const spawned = async (kind: string): Promise<ActorAddress> => {
    const actor = address(kind, `a${++ids}`)
    await client.spawn(actor, {})
    return actor
  }
  const watching = async (to: ActorAddress): Promise<ActorAddress> => {
    const watcher = await spawned('watcher')
    await client.ask(watcher, { type: 'watch', to } as { type: string })
    return watcher
  }
  const heard = async (actor: ActorAddress) => contextOf(await client.read(actor)).heard
  /** By when it would have heard twice, had it been told twice. */
  const settled = async (actor: ActorAddress): Promise<readonly string[]> => {
    const witness = await spawned('watcher')
    await client.ask(witness, { type: 'watch', to: actor } as { type: string })
    await expect.poll(() => heard(witness)).toHaveLength(1)
    return heard(witness)
  }

  test('tells of an actor that finishes, with its output', async () => {
    const to = await spawned('subject')
    const watcher = await watching(to)
    await client.tell(to, { type: 'note', text: 'a life' } as { type: string })
    await client.ask(to, { type: 'finish' })
    await expect.poll(() => heard(watcher)).toEqual([`${to} ended: done ["a life"]`])
    await settled(to)
    expect(await heard(watcher)).toHaveLength(1)
  })

  test('tells of an actor that is stopped, with its fault', async () => {
    const to = await spawned('subject')
    const watcher = await watching(to)
    await client.tell(to, { type: 'fail', why: 'broken' } as { type: string })
    await expect.poll(() => heard(watcher)).toEqual([`${to} ended: error broken`])
  })

  test('tells at once of an actor that has ended, or never was, or has left', async () => {
    const ended = await spawned('subject')
    await client.ask(ended, { type: 'finish' })
    const left = await spawned('brief')
    await client.ask(left, { type: 'finish' })
    await expect.poll(() => client.read(left)).toBeNull()
    const watcher = await watching(ended)
    await client.ask(watcher, { type: 'watch', to: left } as { type: string })
    await client.ask(watcher, { type: 'watch', to: 'subject/nobody' } as { type: string })
    const all = [`${ended} ended: done []`, `${left} ended: gone`, 'subject/nobody ended: gone']
    await expect.poll(async () => [...(await heard(watcher))].sort()).toEqual(all.sort())
  })

  test('is over when it is taken back', async () => {
    const to = await spawned('subject')
    const watcher = await watching(to)
    const other = await watching(to)
    await client.ask(watcher, { type: 'unwatch', to } as { type: string })
    await client.ask(to, { type: 'finish' })
    await expect.poll(() => heard(other)).toHaveLength(1)
    expect(await heard(watcher)).toEqual([])
  })

  test('of a pinned actor whose process is gone is answered by who adopts it, and later for its shard', async () => {
    const to = address('station', `s${++ids}`)
    const host = await fleet.node({ hosts: 'pinned' })
    await host.host(to)
    await client.spawn(to, {})
    const watcher = await watching(to)
    await host.stop()
    await client.ask(to, { type: 'finish' }, { timeoutMs: 20_000 })
    await expect.poll(() => heard(watcher)).toEqual([`${to} ended: done []`])
    await expect.poll(() => client.read(to)).toBeNull()
    await client.ask(watcher, { type: 'watch', to } as { type: string })
    await expect.poll(() => heard(watcher)).toEqual([`${to} ended: done []`, `${to} ended: gone`])
  })

  test('leaves nothing behind at who is watched when the watcher ends first', async () => {
    const to = await spawned('subject')
    const watcher = await watching(to)
    await client.ask(watcher, { type: 'finish' })
    await client.ask(to, { type: 'finish' })
    await settled(to)
    expect(await client.read(watcher)).toMatchObject({ status: 'done', context: { heard: [] } })
  })

  test('of a client shows the actor now, after each change, and as it ended', async () => {
    const to = await spawned('subject')
    const seen: string[] = []
    for await (const { status, context } of client.watch(to)) {
      const notes = contextOf({ context }).heard.length
      seen.push(`${status} ${notes}`)
      if (notes < 3) await client.tell(to, { type: 'note', text: 'more' } as { type: string })
      else if (status === 'active') await client.tell(to, { type: 'finish' })
    }
    expect(seen).toEqual(['active 0', 'active 1', 'active 2', 'active 3', 'done 3'])
  })

  test('of a client ends at once for an actor that is not there, and with its signal', async () => {
    const seen = []
    for await (const snapshot of client.watch(address('subject', 'nobody'))) seen.push(snapshot)
    expect(seen).toEqual([])
    const abort = new AbortController()
    for await (const _ of client.watch(await spawned('subject'), { signal: abort.signal })) abort.abort()
  })
})

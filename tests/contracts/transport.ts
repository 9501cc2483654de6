/** What every transport must do: the invariants of `runtime/transport.ts`, as tests. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { numberedShard, pinnedShard, address } from '../../runtime/address.ts'
import type { ShardName } from '../../runtime/address.ts'
import { LIMITS } from '../../runtime/limits.ts'
import { decodeRing } from '../../runtime/ring.ts'
import { CURSOR_START, deadLetterStream, doorbell, heldStream, journalStream } from '../../runtime/transport.ts'
import type { Claim, ClaimRequest, Commit, Delivery, Member, Transport } from '../../runtime/transport.ts'

export interface TransportFixture {
  /** A new, started connection to the same server. */
  connect(shards?: number): Promise<Transport & { readonly id: string }>
  stop(): Promise<void>
}

const LEASE_MS = 60_000
const request = (owner: string, nonce: string): ClaimRequest => {
  return { owner, ttlMs: LEASE_MS, nonce, anew: false, crashWindowMs: 60_000 }
}
let shardsUsed = 0

export function transportContract(name: string, available: boolean, start: () => Promise<TransportFixture>): void {
  describe.skipIf(!available)(`the ${name} transport`, () => {
    let fixture: TransportFixture
    let transport: Awaited<ReturnType<TransportFixture['connect']>>
    beforeAll(async () => {
      fixture = await start()
      transport = await fixture.connect()
    })
    afterAll(async () => {
      await transport.stop()
      await fixture.stop()
    })

    const freshShard = (): ShardName => numberedShard(shardsUsed++)
    const claimed = async (shard: ShardName, owner = 'a'): Promise<Claim> => {
      const claim = await transport.claim(shard, request(owner, `${owner}${shardsUsed}`))
      if (claim === null) throw new Error('the shard is taken')
      return claim
    }
    const deliver = (shard: ShardName, seq: number, body: string, source = 's99', incarnation = 1) =>
      transport.deliver(shard, 'in', [parcel({ source, incarnation, seq, body })], 1_000)
    const bodies = async (shard: ShardName): Promise<string[]> =>
      (await transport.read(shard, CURSOR_START, 100)).map((entry) => entry.body)

    /** So many messages of a channel, once they have come. */
    const heard = async (channel: string, count: number) => {
      const bodies: string[] = []
      const { promise, resolve } = Promise.withResolvers<readonly string[]>()
      const stop = await transport.subscribe(channel, (body) => {
        if (bodies.push(body) === count) resolve(bodies)
      })
      return { all: promise, stop }
    }

    test('a commit applies everything it carries at once', async () => {
      const shard = freshShard()
      const { epoch } = await claimed(shard)
      const actor = address('counter', 'a')
      const timer = { actor, name: 'tick', gen: 1, due: 5_000 }
      const outcome = await transport.commit({
        ...empty(shard, epoch, 0),
        outSeq: 1,
        records: [{ actor, body: 'state' }],
        sends: [{ shard, lane: 'hi', body: 'to myself' }],
        outbox: [{ seq: 1, id: 'a', shard: numberedShard(63), lane: 'in', body: 'to another' }],
        timersSet: [timer],
        effects: [{ actor, active: true }],
        journal: '[1]',
        dead: ['letter'],
      })
      expect(outcome).toEqual({ ok: true, gone: [], mail: null })
      expect(await transport.load(shard, [actor, address('counter', 'b')])).toEqual(['state', null])
      expect(await bodies(shard)).toEqual(['to myself'])
      expect(await transport.outbox(shard)).toEqual([
        { seq: 1, incarnation: 1, id: 'a', shard: '63', lane: 'in', body: 'to another' },
      ])
      expect(await transport.due(shard, 4_999, 10)).toEqual({ timers: [], next: 5_000 })
      expect(await transport.due(shard, 5_000, 10)).toEqual({ timers: [timer], next: null })
      expect(await transport.active(shard)).toEqual([actor])
      expect((await transport.range(journalStream(shard), '0-0', 10)).map((row) => row.body)).toEqual(['[1]'])
      expect((await transport.range(deadLetterStream(shard), '0-0', 10)).map((row) => row.body)).toEqual(['letter'])
      expect(await transport.position(shard)).toEqual({ epoch, seq: 1 })
    })

    test('where a commit reaches every shard, its sends arrive with it and wake their receivers', async () => {
      if (transport.reach !== 'every shard') return
      const [from, to] = [freshShard(), freshShard()]
      const sleeper = await claimed(to, 'b')
      const rung = Promise.withResolvers<void>()
      const stop = await transport.subscribe(doorbell(to), () => rung.resolve())
      await transport.park(to, sleeper.epoch, CURSOR_START, 10, 0)
      const { epoch } = await claimed(from)
      const missing = pinnedShard(address('worker', `none${shardsUsed}`))
      const outcome = await transport.commit({
        ...empty(from, epoch, 0),
        sends: [
          { shard: missing, lane: 'in', body: 'to nobody' },
          { shard: to, lane: 'in', body: 'normal' },
          { shard: to, lane: 'hi', body: 'control' },
          { shard: from, lane: 'in', body: 'mine' },
        ],
      })
      expect(outcome).toEqual({ ok: true, gone: [0], mail: null })
      await rung.promise
      expect(await bodies(to)).toEqual(['control', 'normal'])
      expect(await bodies(from)).toEqual(['mine'])
      expect(await transport.pinned()).not.toContainEqual(expect.objectContaining({ shard: missing }))
      await stop()
    })

    test('a commit that takes effect answers those who asked, and no other does', async () => {
      const shard = freshShard()
      const { epoch } = await claimed(shard)
      const heard: string[] = []
      const done = Promise.withResolvers<void>()
      const stop = await transport.subscribe(`answers/${shard}`, (body) => {
        heard.push(body)
        if (body === 'last') done.resolve()
      })
      const answering = (body: string) => ({ replies: [{ channel: `answers/${shard}`, body }] })
      await transport.commit({ ...empty(shard, epoch, 0), ...answering('first') })
      await transport.commit({ ...empty(shard, 'another epoch', 1), ...answering('stale') })
      await transport.commit({ ...empty(shard, epoch, 0), ...answering('again') })
      await transport.commit({ ...empty(shard, epoch, 1), ...answering('last') })
      await done.promise
      expect(heard).toEqual(['first', 'last'])
      await stop()
    })

    test('a commit takes back what it says is over', async () => {
      const shard = freshShard()
      const { epoch } = await claimed(shard)
      const actor = address('counter', 'a')
      const timer = { actor, name: 'tick', gen: 1, due: 1 }
      await transport.commit({
        ...empty(shard, epoch, 0),
        outSeq: 2,
        records: [{ actor, body: 'state' }],
        outbox: [1, 2].map((seq) => ({
          seq,
          id: `i${seq}`,
          shard: numberedShard(63),
          lane: 'in' as const,
          body: `m${seq}`,
        })),
        timersSet: [timer],
        effects: [{ actor, active: true }],
      })
      await transport.commit({
        ...empty(shard, epoch, 1),
        outSeq: 2,
        outTrim: 2,
        records: [{ actor, body: null }],
        timersCleared: [timer],
        effects: [{ actor, active: false }],
      })
      await transport.park(shard, epoch, CURSOR_START, 10, 2)
      expect(await transport.load(shard, [actor])).toEqual([null])
      expect(await transport.due(shard, 10, 10)).toEqual({ timers: [], next: null })
      expect(await transport.active(shard)).toEqual([])
      expect(await transport.outbox(shard)).toEqual([])
    })

    describe('the index of states', () => {
      const move = (id: string, from: string | null, to: string | null, kind = 'order') => {
        return { actor: address(kind, id), from, to }
      }

      test('lists who is in a state by the time of entry and then by id, from any place on', async () => {
        const shard = freshShard()
        const { epoch } = await claimed(shard)
        const enter = (...ids: string[]) => ids.map((id) => move(id, null, 'paying'))
        await transport.commit({ ...empty(shard, epoch, 0), at: 20, moves: enter('b', 'B', 'a', 'a.1') })
        await transport.commit({ ...empty(shard, epoch, 1), at: 10, moves: enter('late') })
        await transport.commit({ ...empty(shard, epoch, 2), at: 30, moves: enter('c') })
        const ids = async (after: { since: number; id: string } | null, limit = 10) =>
          (await transport.listed(shard, 'order', 'paying', after, limit)).map(({ id }) => id)
        expect(await transport.listed(shard, 'order', 'paying', null, 1)).toEqual([
          { id: 'late', state: 'paying', since: 10 },
        ])
        expect(await ids(null)).toEqual(['late', 'B', 'a', 'a.1', 'b', 'c'])
        expect(await ids(null, 3)).toEqual(['late', 'B', 'a'])
        expect(await ids({ since: 20, id: 'a' })).toEqual(['a.1', 'b', 'c'])
        expect(await ids({ since: 20, id: 'a' }, 2)).toEqual(['a.1', 'b'])
        expect(await ids({ since: 20, id: 'gone' })).toEqual(['c'])
        expect(await ids({ since: 25, id: 'x' })).toEqual(['c'])
        expect(await ids({ since: 30, id: 'c' })).toEqual([])
      })

      test('moves with a commit, and not with one that is refused', async () => {
        const shard = freshShard()
        const { epoch } = await claimed(shard)
        await transport.commit({
          ...empty(shard, epoch, 0),
          at: 1,
          moves: [
            move('a', null, 'paying'),
            move('b', null, 'paying'),
            move('c', null, 'a: b.c'),
            move('d', null, '', 'x'),
          ],
        })
        const first = [
          { kind: 'order', state: 'a: b.c', actors: 1 },
          { kind: 'order', state: 'paying', actors: 2 },
          { kind: 'x', state: '', actors: 1 },
        ]
        const states = async () =>
          (await transport.states(shard))
            .toSorted((one, other) => (one.state < other.state ? -1 : 1))
            .toSorted((one, other) => one.kind.localeCompare(other.kind))
        expect(await states()).toEqual(first)
        await transport.commit({ ...empty(shard, 'another', 1), at: 2, moves: [move('a', 'paying', 'paid')] })
        await transport.commit({ ...empty(shard, epoch, 0), at: 2, moves: [move('a', 'paying', 'paid')] })
        expect(await states()).toEqual(first)
        await transport.commit({
          ...empty(shard, epoch, 1),
          at: 3,
          moves: [move('a', 'paying', 'paid'), move('c', 'a: b.c', 'paying'), move('d', '', null, 'x')],
        })
        expect(await states()).toEqual([
          { kind: 'order', state: 'paid', actors: 1 },
          { kind: 'order', state: 'paying', actors: 2 },
        ])
        expect(await transport.listed(shard, 'order', 'paying', null, 10)).toEqual([
          { id: 'b', state: 'paying', since: 1 },
          { id: 'c', state: 'paying', since: 3 },
        ])
        expect(await transport.listed(shard, 'order', 'nowhere', null, 10)).toEqual([])
      })

      test('knows nobody of a shard that nobody has used', async () => {
        const shard = freshShard()
        expect(await transport.states(shard)).toEqual([])
        expect(await transport.listed(shard, 'order', 'paying', { since: 1, id: 'a' }, 10)).toEqual([])
      })
    })

    test('a commit under an old epoch changes nothing', async () => {
      const shard = freshShard()
      const old = await claimed(shard, 'a')
      await transport.release(shard, old.epoch)
      const current = await claimed(shard, 'b')
      const actor = address('counter', 'a')
      const stale: Commit = { ...empty(shard, old.epoch, 0), records: [{ actor, body: 'stale' }] }
      expect(await transport.commit(stale)).toEqual({ ok: false, why: 'fenced', seq: 0 })
      expect(await transport.load(shard, [actor])).toEqual([null])
      expect(await transport.renew(shard, old.epoch, 'a', LEASE_MS)).toBeNull()
      expect(await transport.renew(shard, current.epoch, 'b', LEASE_MS)).toBe(0)
    })

    test('a commit that takes what its lane does not hold changes nothing: a failover has lost it', async () => {
      const shard = freshShard()
      const { epoch } = await claimed(shard)
      await deliver(shard, 1, 'one')
      const [entry] = await transport.read(shard, CURSOR_START, 1)
      const [ms = '', n = ''] = (entry?.id ?? '').split('-')
      for (const lost of [
        { hi: '0-0', in: `${Number(ms) + 1}-0` },
        { hi: '0-0', in: `${Number(ms) - 1}-0` }, // and something newer came since
        { hi: '1-0', in: '0-0' },
      ]) {
        const outcome = await transport.commit({ ...empty(shard, epoch, 0), cursor: lost, journal: '[1]' })
        expect(outcome).toEqual({ ok: false, why: 'seq', seq: 0 })
      }
      expect(await transport.ends(journalStream(shard))).toEqual({ trimmed: '0-0', newest: '0-0' })
      const cursor = { hi: '0-0', in: `${ms}-${n}` }
      expect(await transport.commit({ ...empty(shard, epoch, 0), cursor })).toMatchObject({ ok: true })
    })

    test('a commit that was applied once is not applied again', async () => {
      const shard = freshShard()
      const { epoch } = await claimed(shard)
      const commit: Commit = { ...empty(shard, epoch, 0), sends: [{ shard, lane: 'in', body: 'once' }] }
      await transport.commit(commit)
      expect(await transport.commit(commit)).toEqual({ ok: false, why: 'seq', seq: 1 })
      expect(await bodies(shard)).toEqual(['once'])
    })

    test('a shard cannot be claimed while another owner holds its lease, and can by the same owner', async () => {
      const shard = freshShard()
      const first = await claimed(shard, 'a')
      expect(await transport.claim(shard, request('b', 'x'))).toBeNull()
      const again = await claimed(shard, 'a')
      expect(again.epoch).not.toBe(first.epoch)
    })

    test('a claim counts the owners before it that ended soon and handed nothing over, and tells what they tried', async () => {
      const shard = freshShard()
      const claim = (more: Partial<ClaimRequest> = {}) => transport.claim(shard, { ...request('a', 'n'), ...more })
      const first = await claim()
      expect(first).toMatchObject({ crashes: 0, trial: '' })
      await transport.attempt(shard, 'another epoch', 'stale')
      await transport.attempt(shard, first?.epoch ?? '', 'something')
      expect(await claim()).toMatchObject({ crashes: 1, trial: 'something' })
      expect(await claim({ anew: true })).toMatchObject({ crashes: 0, trial: '' })
      const last = await claim()
      expect(last).toMatchObject({ crashes: 2, trial: 'something' })
      await transport.release(shard, last?.epoch ?? '')
      expect(await claim()).toMatchObject({ crashes: 0, trial: '' })
      expect(await claim({ crashWindowMs: 0 })).toMatchObject({ crashes: 0, trial: '' })
    })

    test('a claim tells how many commits the owner made that has crashed', async () => {
      const shard = freshShard()
      const claim = () => transport.claim(shard, request('a', 'n'))
      const first = await claim()
      for (const seq of [0, 1, 2]) await transport.commit(empty(shard, first?.epoch ?? '', seq))
      expect(await claim()).toMatchObject({ crashes: 1, made: 3 })
      const last = await claim()
      expect(last).toMatchObject({ crashes: 2, made: 0 })
      await transport.release(shard, last?.epoch ?? '')
      expect(await claim()).toMatchObject({ crashes: 0, made: 0 })
    })

    test('a claim tells where the shard stands', async () => {
      const shard = freshShard()
      const { epoch } = await claimed(shard)
      await deliver(shard, 1, 'one')
      const [entry] = await transport.read(shard, CURSOR_START, 1)
      const cursor = { hi: '0-0', in: entry?.id ?? '' }
      await transport.commit({ ...empty(shard, epoch, 0), cursor, outSeq: 7 })
      expect(await claimed(shard)).toMatchObject({ seq: 1, cursor, outSeq: 7 })
    })

    test('each claim has a higher incarnation than the one before', async () => {
      const shard = freshShard()
      const claims = [await claimed(shard), await claimed(shard), await claimed(shard)]
      const incarnations = claims.map(({ incarnation }) => incarnation)
      expect(incarnations).toEqual([...new Set(incarnations)].sort((a, b) => a - b))
    })

    test('a message is taken once, however often it is delivered', async () => {
      const shard = freshShard()
      await deliver(shard, 1, 'one')
      await deliver(shard, 1, 'one')
      await deliver(shard, 3, 'three')
      await deliver(shard, 2, 'two, too late')
      await deliver(shard, 1, 'one of another', 's98')
      expect(await bodies(shard)).toEqual(['one', 'three', 'one of another'])
    })

    test('sends of a newer incarnation are new sends, those of an older one are not', async () => {
      const shard = freshShard()
      await deliver(shard, 9, 'first life', 's1', 1)
      await deliver(shard, 3, 'second life', 's1', 2)
      await deliver(shard, 10, 'first life, late', 's1', 1)
      expect(await bodies(shard)).toEqual(['first life', 'second life'])
    })

    test("a client's messages are taken once too, in each lane", async () => {
      const shard = freshShard()
      for (const lane of ['hi', 'in'] as const) {
        const batch = [parcel({ source: 'c1', seq: 1, body: lane })]
        await transport.deliver(shard, lane, batch, 1_000)
        await transport.deliver(shard, lane, batch, 1_000)
      }
      expect(await bodies(shard)).toEqual(['hi', 'in'])
    })

    test('a full lane takes nothing more, and the control lane knows no cap', async () => {
      const shard = freshShard()
      const batch = [1, 2].map((seq) => parcel({ source: 's1', seq, body: `m${seq}` }))
      expect(await transport.deliver(shard, 'in', batch, 2)).toBe(2)
      expect(await transport.deliver(shard, 'in', [{ ...batch[0]!, seq: 3 }], 2)).toBe(0)
      const control = [4, 5, 6].map((seq) => parcel({ source: 's1', seq, body: `control ${seq}` }))
      expect(await transport.deliver(shard, 'hi', control, 2)).toBe(3)
    })

    test('control mail comes first, however long other mail has waited', async () => {
      const shard = freshShard()
      const { epoch } = await claimed(shard)
      const send = (lane: 'hi' | 'in', seq: number, body: string) =>
        transport.deliver(shard, lane, [parcel({ source: 's1', seq, body })], 1_000)
      await send('in', 1, 'waits')
      await send('hi', 1, 'control')
      expect(await bodies(shard)).toEqual(['control', 'waits'])
      const found = await transport.park(shard, epoch, CURSOR_START, 10, 0)
      expect(found).toMatchObject([{ body: 'control' }, { body: 'waits' }])
      const outcome = await transport.commit({ ...empty(shard, epoch, 0), look: 10 })
      expect(outcome).toMatchObject({ ok: true, mail: [{ body: 'control' }, { body: 'waits' }] })
    })

    test('lanes are trimmed behind what is taken', async () => {
      const shard = freshShard()
      const { epoch } = await claimed(shard)
      const batch = Array.from({ length: 300 }, (_, i) => parcel({ source: 's1', seq: i + 1, body: 'x'.repeat(100) }))
      for (const lane of ['hi', 'in'] as const) await transport.deliver(shard, lane, batch, 1_000)
      const entries = await transport.read(shard, CURSOR_START, 300)
      const at = (lane: 'hi' | 'in', place: number) => entries.filter((each) => each.lane === lane)[place]?.id ?? ''
      const take = (place: number, seq: number) => {
        const cursor = { hi: at('hi', place), in: at('in', place) }
        return transport.commit({ ...empty(shard, epoch, seq), cursor, look: 10 })
      }
      await take(250, 0)
      // Redis trims by whole nodes of a stream.
      expect((await transport.read(shard, CURSOR_START, 300)).length).toBeLessThan(2 * 150)
      await take(299, 1)
      expect(await transport.read(shard, CURSOR_START, 300)).toEqual([])
    })

    test('a batch that does not fit is taken as far as it does, and whoever was refused may come again', async () => {
      const shard = freshShard()
      const [a, b] = ['s1', 's2'].map((source) => (seq: number) => parcel({ source, seq, body: `${source} ${seq}` }))
      expect(await transport.deliver(shard, 'in', [a!(1), b!(1), a!(2), b!(2), a!(3), b!(3)], 4)).toBe(4)
      expect(await bodies(shard)).toEqual(['s1 1', 's2 1', 's1 2', 's2 2'])
      // What is there already takes no room, and nothing new goes past the first that is refused.
      expect(await transport.deliver(shard, 'in', [a!(2), a!(3), b!(3)], 4)).toBe(1)
      expect(await transport.deliver(shard, 'in', [a!(2), a!(3), b!(3)], 5)).toBe(2)
      expect(await transport.deliver(shard, 'in', [a!(3), b!(3)], 6)).toBe(2)
      expect(await bodies(shard)).toEqual(['s1 1', 's2 1', 's1 2', 's2 2', 's1 3', 's2 3'])
    })

    test.each([
      ['a client', 'c1'],
      ['a shard', 's1'],
    ])('exactly as many messages of %s wait as the cap says, whatever was taken before', async (_, source) => {
      const shard = freshShard()
      const CAP = 250
      const { epoch } = await claimed(shard)
      const batchFrom = (seq: number) =>
        Array.from({ length: 512 }, (_, i) => parcel({ source, seq: seq + i, body: `m${seq + i}` }))
      expect(await transport.deliver(shard, 'in', batchFrom(1), CAP)).toBe(CAP)
      const waiting = await transport.read(shard, CURSOR_START, 1_000)
      expect(waiting.map(({ body }) => body)).toEqual(
        batchFrom(1)
          .slice(0, CAP)
          .map(({ body }) => body),
      )
      // The owner takes some, which need not leave the stream at once.
      const TAKEN = 33
      const cursor = { hi: '0-0', in: waiting[TAKEN - 1]!.id }
      expect(await transport.commit({ ...empty(shard, epoch, 0), cursor })).toMatchObject({ ok: true })
      expect(await transport.deliver(shard, 'in', batchFrom(CAP + 1), CAP)).toBe(TAKEN)
      expect(await transport.read(shard, cursor, 1_000)).toHaveLength(CAP)
      expect(await transport.deliver(shard, 'in', batchFrom(CAP + 1 + TAKEN), CAP)).toBe(0)
      // And all of it.
      const last = (await transport.read(shard, cursor, 1_000)).at(-1)!.id
      expect(await transport.commit({ ...empty(shard, epoch, 1), cursor: { hi: '0-0', in: last } })).toMatchObject({
        ok: true,
      })
      expect(await transport.deliver(shard, 'in', batchFrom(CAP + 1 + TAKEN), CAP)).toBe(CAP)
    })

    test('a delivery that is repeated into a full lane has been taken, not refused', async () => {
      const shard = freshShard()
      const batch = [1, 2].map((seq) => parcel({ source: 's1', seq, body: `m${seq}` }))
      await transport.deliver(shard, 'in', batch, 2)
      expect(await transport.deliver(shard, 'in', batch, 2)).toBe(2)
      expect(await bodies(shard)).toEqual(['m1', 'm2'])
    })

    describe('a source that a failover has thrown back', () => {
      /** What it sent in its first life, of which it remembers no more than the first. */
      const sent = async (shard: ShardName): Promise<void> => {
        const life = { source: 's1', incarnation: 100, lineage: '100:0' }
        const batch = ['a', 'b', 'c'].map((id, i) => parcel({ ...life, seq: i + 1, id, body: id }))
        await transport.deliver(shard, 'in', batch, 1_000)
      }
      const again = (seq: number, id: string, lineage = '100:0 200:1', incarnation = 200) =>
        parcel({ source: 's1', incarnation, lineage, seq, id, body: `${id} again` })

      test('may send again what was taken, in any order, and it is not taken again', async () => {
        const shard = freshShard()
        await sent(shard)
        await transport.deliver(shard, 'in', [again(2, 'c'), again(3, 'd')], 1_000)
        await transport.deliver(shard, 'in', [again(4, 'b')], 1_000)
        await transport.deliver(shard, 'in', [again(4, 'b'), again(5, 'e')], 1_000)
        expect(await bodies(shard)).toEqual(['a', 'b', 'c', 'd again', 'e again'])
      })

      test('is known as such even if its first claim after that sent nothing here', async () => {
        const shard = freshShard()
        await sent(shard)
        await transport.deliver(shard, 'in', [again(10, 'b', '100:0 200:1 300:9', 300)], 1_000)
        expect(await bodies(shard)).toEqual(['a', 'b', 'c'])
      })

      test('is not refused, even by a full lane, what was taken already', async () => {
        const shard = freshShard()
        await sent(shard)
        expect(await transport.deliver(shard, 'in', [again(2, 'b'), again(3, 'd')], 3)).toBe(1)
        expect(await transport.deliver(shard, 'in', [again(2, 'b')], 3)).toBe(1)
        await transport.deliver(shard, 'in', [again(2, 'b'), again(3, 'd')], 1_000)
        expect(await bodies(shard)).toEqual(['a', 'b', 'c', 'd again'])
      })

      test('does not throw back what others sent', async () => {
        const shard = freshShard()
        await sent(shard)
        await transport.deliver(
          shard,
          'in',
          [parcel({ source: 's2', seq: 1, id: 'b', lineage: '1:0', body: 'of s2' })],
          1_000,
        )
        await transport.deliver(shard, 'in', [again(2, 'b')], 1_000)
        const other = { source: 's2', incarnation: 2, seq: 2, lineage: '1:0 2:1' }
        await transport.deliver(shard, 'in', [parcel({ ...other, id: 'c', body: 'of s2 too' })], 1_000)
        expect(await bodies(shard)).toEqual(['a', 'b', 'c', 'of s2', 'of s2 too'])
      })
    })

    test('a claim tells where those before it stood, as far as it matters', async () => {
      const shard = freshShard()
      const claims = [await claimed(shard)]
      for (const [seq, outSeq] of [4, 4, 9].entries()) {
        await transport.commit({ ...empty(shard, claims.at(-1)?.epoch ?? '', seq), outSeq })
        claims.push(await claimed(shard))
      }
      const at = (place: number, outSeq: number) => `${claims[place]?.incarnation}:${outSeq}`
      expect(claims.map(({ lineage }) => lineage)).toEqual([
        at(0, 0),
        `${at(0, 0)} ${at(1, 4)}`,
        `${at(0, 0)} ${at(2, 4)}`,
        `${at(0, 0)} ${at(2, 4)} ${at(3, 9)}`,
      ])
      for (let outSeq = 10; outSeq < 40; outSeq++) {
        await transport.commit({ ...empty(shard, claims.at(-1)?.epoch ?? '', outSeq - 7), outSeq })
        claims.push(await claimed(shard))
      }
      const [oldest, ...others] = claims.at(-1)?.lineage.split(' ') ?? []
      expect(others).toHaveLength(LIMITS.lineageMax - 1)
      expect(oldest).toBe(at(claims.length - LIMITS.lineageMax, 0))
    })

    test('a parked owner is rung for a delivery, and is not let park over news', async () => {
      const shard = freshShard()
      const { epoch } = await claimed(shard)
      const rung = Promise.withResolvers<void>()
      const stop = await transport.subscribe(doorbell(shard), () => rung.resolve())
      expect(await transport.park(shard, epoch, CURSOR_START, 10, 0)).toBe('parked')
      await deliver(shard, 1, 'news')
      await rung.promise
      await transport.deliver(shard, 'hi', [parcel({ source: 's1', seq: 1, body: 'urgent' })], 1_000)
      const news = await transport.park(shard, epoch, CURSOR_START, 10, 0)
      expect(news).toMatchObject([
        { lane: 'hi', body: 'urgent' },
        { lane: 'in', body: 'news' },
      ])
      expect(await transport.read(shard, CURSOR_START, 10)).toEqual(news)
      await claimed(shard)
      expect(await transport.park(shard, epoch, CURSOR_START, 10, 0)).toBe('fenced')
      await stop()
    })

    test('a ring brings what was delivered to an owner that parked, and says after what it comes', async () => {
      const shard = freshShard()
      const { epoch } = await claimed(shard)
      const rings = await heard(doorbell(shard), 3)
      await transport.park(shard, epoch, CURSOR_START, 10, 0)
      await deliver(shard, 1, 'news')
      const [entry] = await transport.read(shard, CURSOR_START, 10)
      const cursor = { hi: '0-0', in: entry?.id ?? '' }
      await transport.commit({ ...empty(shard, epoch, 0), cursor, look: 10 })
      await transport.deliver(shard, 'hi', [parcel({ source: 's1', seq: 1, body: 'urgent' })], 0)
      const [urgent] = await transport.read(shard, cursor, 10)
      const further = { hi: urgent?.id ?? '', in: cursor.in }
      await transport.park(shard, epoch, further, 10, 0)
      await deliver(shard, 2, 'two\nlines')
      expect((await rings.all).map(decodeRing)).toEqual([
        { epoch, after: CURSOR_START, mail: [entry] },
        { epoch, after: cursor, mail: [urgent] },
        { epoch, after: further, mail: [] },
      ])
      await rings.stop()
    })

    test('a ring brings what another shard has committed for both lanes', async () => {
      if (transport.reach !== 'every shard') return
      const [from, to] = [freshShard(), freshShard()]
      const sleeper = await claimed(to, 'b')
      const rings = await heard(doorbell(to), 1)
      await transport.park(to, sleeper.epoch, CURSOR_START, 10, 0)
      const { epoch } = await claimed(from)
      await transport.commit({
        ...empty(from, epoch, 0),
        sends: [
          { shard: to, lane: 'in', body: 'normal' },
          { shard: to, lane: 'hi', body: 'control' },
        ],
      })
      const ring = decodeRing((await rings.all)[0] ?? '')
      expect(ring?.mail).toEqual(await transport.read(to, CURSOR_START, 10))
      expect(ring?.mail.map(({ body }) => body)).toEqual(['control', 'normal'])
      await rings.stop()
    })

    test('a commit that looks finds what comes after it, or parks', async () => {
      const shard = freshShard()
      const { epoch } = await claimed(shard)
      const first = await transport.commit({
        ...empty(shard, epoch, 0),
        sends: [{ shard, lane: 'in', body: 'to myself' }],
        look: 10,
      })
      const found = await transport.read(shard, CURSOR_START, 10)
      expect(first).toEqual({ ok: true, gone: [], mail: found })
      const cursor = { hi: '0-0', in: found[0]?.id ?? '' }
      expect(await transport.commit({ ...empty(shard, epoch, 1), cursor, look: 10 })).toEqual({
        ok: true,
        gone: [],
        mail: 'parked',
      })
      const rings = await heard(doorbell(shard), 1)
      await deliver(shard, 1, 'news')
      await rings.all
      await rings.stop()
    })

    test('a pinned shard exists from its claim until it is dropped', async () => {
      const shard = pinnedShard(address('worker', `w${shardsUsed++}`))
      expect(await deliver(shard, 1, 'too early')).toBe('gone')
      const { epoch } = await claimed(shard)
      expect(await deliver(shard, 1, 'in time')).toBe(1)
      expect(await transport.pinned()).toContainEqual({ shard, leased: true })
      await transport.release(shard, epoch)
      expect(await transport.pinned()).toContainEqual({ shard, leased: false })
      await transport.drop(shard, 'another epoch')
      expect(await deliver(shard, 2, 'still there')).toBe(1)
      await transport.drop(shard, epoch)
      expect(await deliver(shard, 3, 'too late')).toBe('gone')
      expect(await transport.pinned()).not.toContainEqual(expect.objectContaining({ shard }))
    })

    test('a journal keeps about as many commits as its commits say', async () => {
      const shard = freshShard()
      const { epoch } = await claimed(shard)
      const journal = JSON.stringify('x'.repeat(400))
      await Promise.all(
        Array.from({ length: 300 }, (_, seq) =>
          transport.commit({ ...empty(shard, epoch, seq), journal, journalMax: 40 }),
        ),
      )
      const kept = (await transport.range(journalStream(shard), '0-0', 300)).length
      expect(kept).toBeGreaterThanOrEqual(40)
      expect(kept).toBeLessThan(80) // Redis trims by whole nodes of a stream
    })

    test('a capped stream forgets its oldest rows and says so', async () => {
      const stream = `job:contract${shardsUsed++}:metrics`
      expect(await transport.ends(stream)).toEqual({ trimmed: '0-0', newest: '0-0' })
      await transport.append(stream, ['a', 'b'], 1_000)
      const rows = await transport.range(stream, '0-0', 10)
      expect(rows.map((row) => row.body)).toEqual(['a', 'b'])
      expect(await transport.ends(stream)).toEqual({ trimmed: '0-0', newest: rows[1]?.id })
      expect(await transport.range(stream, rows[0]!.id, 10)).toEqual([rows[1]])
    })

    test('messages that an owner holds wait in their order until one takes them', async () => {
      const shard = freshShard()
      const { epoch } = await claimed(shard)
      const waiting = async () => (await transport.range(heldStream(shard), '0-0', 10)).map(({ body }) => body)
      await transport.commit({ ...empty(shard, epoch, 0), held: ['one', 'two'] })
      await transport.commit({ ...empty(shard, epoch, 1), held: ['three'] })
      expect(await waiting()).toEqual(['one', 'two', 'three'])
      const [first, second, third] = await transport.range(heldStream(shard), '0-0', 10)
      await transport.commit({ ...empty(shard, epoch, 2), held: ['four'], heldTaken: [second!.id] })
      expect(await waiting()).toEqual(['one', 'three', 'four'])
      expect((await transport.range(heldStream(shard), first!.id, 1)).map(({ id }) => id)).toEqual([third!.id])
      await transport.commit({ ...empty(shard, 'another epoch', 3), held: ['stale'] })
      expect(await waiting()).toEqual(['one', 'three', 'four'])
    })

    test('living nodes are listed with what they read until they leave', async () => {
      const [old, young] = [
        { id: 'n1', reads: { order: 1 } },
        { id: 'n2', reads: { order: 2, refund: 1 } },
      ]
      const announced = async (member: Member) => (await transport.announce(member, [], LEASE_MS)).members
      expect(await announced(old)).toEqual([old])
      expect(await announced(young)).toEqual([old, young])
      await transport.withdraw('n1')
      expect(await announced(young)).toEqual([young])
    })

    test('what a shard needs is known to all from then on, and only rises', async () => {
      const shard = freshShard()
      const found = (version: number) => [{ shard, kind: 'order', version }]
      const needs = async (version: number | null) => {
        const told = await transport.announce({ id: 'n3', reads: {} }, version === null ? [] : found(version), LEASE_MS)
        return told.needs.filter((need) => need.shard === shard)
      }
      expect(await needs(null)).toEqual([])
      expect(await needs(3)).toEqual(found(3))
      expect(await needs(2)).toEqual(found(3))
      expect(await needs(null)).toEqual(found(3))
      await transport.withdraw('n3')
    })

    test('a namespace keeps the number of shards it began with', async () => {
      await expect(fixture.connect(63)).rejects.toThrow(/has 64 shards/)
    })

    test('a namespace keeps the id that it got at its first start', async () => {
      const other = await fixture.connect()
      expect(other.id).toMatch(/^[0-9a-f-]{36}$/)
      expect(other.id).toBe(transport.id)
      await other.stop()
    })

    test('what one connection publishes, another hears', async () => {
      const other = await fixture.connect()
      const heard = Promise.withResolvers<string>()
      const stop = await transport.subscribe('answers/x', heard.resolve)
      await other.publish('answers/x', 'hello')
      expect(await heard.promise).toBe('hello')
      await stop()
      await other.stop()
    })
  })
}

function parcel(given: Partial<Delivery> & Pick<Delivery, 'source' | 'seq' | 'body'>): Delivery {
  return { incarnation: 1, id: `${given.source}.${given.seq}`, lineage: '', ...given }
}

/** A commit of nothing. */
export function empty(shard: ShardName, epoch: string, seq: number): Commit {
  return {
    shard,
    epoch,
    seq,
    cursor: CURSOR_START,
    outSeq: 0,
    incarnation: 1,
    records: [],
    moves: [],
    at: 0,
    sends: [],
    outbox: [],
    outTrim: 0,
    timersSet: [],
    timersCleared: [],
    effects: [],
    journal: null,
    journalMax: 1_000,
    dead: [],
    held: [],
    heldTaken: [],
    replies: [],
    look: 0,
  }
}

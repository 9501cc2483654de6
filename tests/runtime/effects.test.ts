import { expect, test } from 'vitest'
import { fromPromise, setup } from 'xstate'
import { defineActor } from '../../runtime/actor.ts'
import { address } from '../../runtime/address.ts'
import { openClient } from '../../runtime/client.ts'
import { Effects } from '../../runtime/effects.ts'
import { RuntimeEvents } from '../../runtime/events.ts'
import { LIMITS } from '../../runtime/limits.ts'
import { MemoryServer } from '../../runtime/memory/server.ts'
import type { Message } from '../../runtime/message.ts'
import { Node } from '../../runtime/node.ts'
import { SeededRandom, VirtualClock } from '../../runtime/testing/mod.ts'

const RETRY = { attempts: 6, baseMs: 100, maxMs: 1_000 }

/** `run` is its effect. */
const workerOf = (run: () => Promise<null>) =>
  defineActor({
    kind: 'worker',
    version: 1,
    machine: setup({ actors: { work: fromPromise<null>(async () => null) } }).createMachine({
      id: 'worker',
      initial: 'working',
      states: { working: { invoke: { id: 'work', src: 'work', onDone: 'rested' } }, rested: {} },
    }),
    effects: { work: run },
    policy: { effectRetry: RETRY },
  })

test('an effect that fails is tried again after pauses that double up to a limit, each shortened by chance, and then has failed', async () => {
  const clock = new VirtualClock()
  const tries: number[] = []
  const failing = workerOf(() => {
    tries.push(clock.now())
    return Promise.reject(new Error('not yet'))
  })
  const reported: Message[] = []
  const report = (message: Message): void => void reported.push(message)
  const effects = new Effects({
    clock,
    random: new SeededRandom(1),
    events: new RuntimeEvents(),
    limits: LIMITS,
    report,
  })
  const row = { id: 'run', src: 'work', gen: 1 }
  const ended = effects.start(failing, { actor: address('worker', 'a'), id: 'work', row, trace: undefined })
  await clock.advanceTo(clock.now() + 60_000)
  await ended
  expect(tries).toHaveLength(RETRY.attempts)
  const pauses = tries.slice(1).map((at, i) => at - (tries[i] ?? 0))
  const shares = pauses.map((pause, i) => pause / Math.min(RETRY.maxMs, RETRY.baseMs * 2 ** i))
  for (const share of shares) {
    expect(share).toBeGreaterThanOrEqual(0.5)
    expect(share).toBeLessThanOrEqual(1)
  }
  expect(new Set(shares.map((share) => share.toFixed(3))).size).toBe(shares.length)
  expect(reported).toMatchObject([{ kind: 'effect', id: 'work', gen: 1, result: { ok: false } }])
})

test('an effect starts only once the commit that asked for it has taken effect', async () => {
  const clock = new VirtualClock()
  const server = new MemoryServer({ clock })
  const directory = { shards: 1, pinned: new Set<string>() }
  let runs = 0
  const worker = workerOf(async () => {
    runs++
    return null
  })
  const transport = server.connect()
  const commit = transport.commit.bind(transport)
  const gate = Promise.withResolvers<void>()
  // It takes effect only when the test lets it.
  transport.commit = async (...args) => {
    await gate.promise
    return commit(...args)
  }
  const node = new Node({
    transport,
    actors: [worker],
    directory,
    hosts: 'sharded',
    clock,
    random: new SeededRandom(1),
  })
  await node.start()
  const client = await openClient({ transport: server.connect(), directory, clock, random: new SeededRandom(2) })
  const born = client.spawn(address('worker', 'a'), null)
  await clock.advanceTo(clock.now() + 500)
  expect(runs).toBe(0)
  gate.resolve()
  await clock.advanceTo(clock.now() + 500)
  await born
  expect(runs).toBe(1)
})

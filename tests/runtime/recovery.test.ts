import { expect, test } from 'vitest'
import { fromPromise, setup } from 'xstate'
import { defineActor } from '../../runtime/actor.ts'
import { address, numberedShard } from '../../runtime/address.ts'
import { Care, Trials } from '../../runtime/care.ts'
import type { EffectStart } from '../../runtime/consequences.ts'
import { Effects } from '../../runtime/effects.ts'
import { RuntimeEvents } from '../../runtime/events.ts'
import { LIMITS } from '../../runtime/limits.ts'
import { MemoryServer } from '../../runtime/memory/server.ts'
import type { Message } from '../../runtime/message.ts'
import { startUnderTrial } from '../../runtime/recovery.ts'
import { SeededRandom } from '../../runtime/testing/seeded-random.ts'
import { VirtualClock } from '../../runtime/testing/virtual-clock.ts'

const machine = setup({
  actors: { work: fromPromise<string, string>(() => Promise.reject(new Error('the runtime runs it'))) },
}).createMachine({ invoke: { id: 'work', src: 'work', input: '' } })

const start = (id: string, gen: number): EffectStart => ({
  actor: address('worker', id),
  id: 'work',
  row: { id: `${id}${gen}`, src: 'work', gen },
  trace: undefined,
})

test('an effect that waits for its trial is not started once its state was left, nor in place of a newer run', async () => {
  const clock = new VirtualClock()
  const running = new Map<string, AbortSignal>()
  const worker = defineActor({
    kind: 'worker',
    version: 1,
    machine,
    effects: {
      work: async (_, { key, signal }) => {
        running.set(key, signal)
        await clock.sleep(1e9, signal)
        return ''
      },
    },
  })
  const name = numberedShard(0)
  const transport = new MemoryServer({ clock }).connect()
  const claim = await transport.claim(name, { owner: 'a', ttlMs: 1e9, nonce: 'n', anew: false, crashWindowMs: 0 })
  if (claim === null) throw new Error('the shard is taken')
  const care = Care.after({ ...claim, crashes: 2 }, 'a', LIMITS, clock.now())
  if (care === null) throw new Error('after two crashes, an owner is careful')
  const reported: Message[] = []
  const report = (message: Message) => void reported.push(message)
  const events = new RuntimeEvents()
  const effects = new Effects({ clock, random: new SeededRandom(1), events, limits: LIMITS, report })
  const { signal } = new AbortController()
  const started = startUnderTrial(
    [start('a', 1), start('b', 1), start('c', 1), start('d', 1)],
    { care, epoch: claim.epoch, signal, isOurs: () => true, effects, report },
    {
      name,
      transport,
      definitions: new Map([['worker', worker]]),
      directory: { shards: 1, pinned: new Set() },
      clock,
      events,
      limits: LIMITS,
      trials: new Trials(),
    },
  )
  await clock.advanceTo(clock.now() + 1) // the first is being tried
  effects.stop(address('worker', 'b'), 'work', 1)
  effects.stop(address('worker', 'c'), 'work', 1)
  void effects.start(worker, start('c', 2))
  await clock.advanceTo(clock.now() + 10 * LIMITS.effectTrialMs)
  await started
  const runs = [...running].map(([key, { aborted }]) => `${key} ${aborted ? 'aborted' : 'runs'}`)
  expect(runs).toEqual(['worker/a:work:a1 runs', 'worker/c:work:c2 runs', 'worker/d:work:d1 runs'])
  expect(reported).toEqual([])
  await effects.stopAll()
})

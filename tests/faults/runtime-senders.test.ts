/** A gateway that is killed in the middle of its sends, as a process on a real Redis. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { has } from '../harness/parts.ts'
import { RuntimeWorld, WAIT } from './runtime-world.ts'
import { SENDS, sendOf } from './sender.ts'

const LIMIT_MS = 180_000
const PROGRAM = fileURLToPath(new URL('./sender.ts', import.meta.url))

interface Sender {
  readonly acknowledged: Set<number>
  kill(): Promise<void>
}

function startSender(url: string): Sender {
  const child = spawn(process.execPath, [PROGRAM, url], { stdio: ['ignore', 'pipe', 'inherit'] })
  const closed = once(child, 'close')
  const acknowledged = new Set<number>()
  createInterface(child.stdout).on('line', (line) => acknowledged.add(Number(line)))
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await closed
  }
  onTestFinished(kill)
  return { acknowledged, kill }
}

describe.skipIf(!has('redis'))('of a gateway that is killed in the middle of its sends', () => {
  test(
    'what it was told is durable is applied once, all else once or not at all, and in its order',
    {
      timeout: LIMIT_MS,
    },
    async () => {
      await using world = await RuntimeWorld.start({ nodes: 2, seed: 6 })
      const sender = startSender(world.redis.url)
      await vi.waitUntil(() => sender.acknowledged.size > 1_000, WAIT)
      await sender.kill()
      expect(sender.acknowledged.size).toBeLessThan(SENDS)
      for (let i = 0; i < SENDS; i++) {
        const { to, isSpawn } = sendOf(i)
        if (isSpawn) continue
        const event = { type: 'pass', n: `m${i}`, from: 'c0', lane: 'in', next: [] } as const
        const outcome = sender.acknowledged.has(i)
          ? ({ kind: 'acknowledged', handled: true, status: 'active' } as const)
          : ({ kind: 'failed', code: 'killed' } as const)
        world.history.sent.push({ operation: { atMs: 0, client: 0, how: 'tell', to, event }, order: i, at: 0, outcome })
      }
      expect(await world.judge()).toEqual([])
    },
  )

  test('a birth that is asked for again is the same birth', { timeout: LIMIT_MS }, async () => {
    await using world = await RuntimeWorld.start({ nodes: 2, seed: 7 })
    const first = startSender(world.redis.url)
    await vi.waitUntil(() => first.acknowledged.size > 1_000, WAIT)
    await first.kill()
    const again = startSender(world.redis.url)
    const born = Array.from({ length: 2_000 }, (_, i) => i).filter((i) => sendOf(i).isSpawn)
    await vi.waitUntil(() => born.every((i) => again.acknowledged.has(i)), WAIT)
    await again.kill()
    const { journal } = await world.evidence()
    for (const i of born) {
      const births = (journal.get(sendOf(i).to) ?? []).filter(({ event }) => event === '@spawn')
      expect(births).toHaveLength(1)
    }
  })
})

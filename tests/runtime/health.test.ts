import { expect, onTestFinished, test } from 'vitest'
import { RuntimeEvents } from '../../runtime/events.ts'
import { HealthWatch } from '../../runtime/health.ts'
import { LIMITS } from '../../runtime/limits.ts'
import { amiss, checkVersions } from '../../runtime/redis/condition.ts'
import { VirtualClock } from '../../runtime/testing/virtual-clock.ts'
import { MemoryServer } from '../../runtime/memory/server.ts'

/** A watch over a transport that answers after `answerMs` what `says` says. */
function watched() {
  const clock = new VirtualClock()
  const events = new RuntimeEvents()
  const told: string[] = []
  events.on('health', ({ state, reason }) => told.push(reason === undefined ? state : `${state}: ${reason}`))
  const server = { answerMs: 1, says: (): string | null => null }
  const transport = Object.assign(new MemoryServer({ clock }).connect(), {
    probe: async () => {
      await clock.sleep(server.answerMs)
      return server.says()
    },
  })
  const watch = new HealthWatch({ transport, clock, events, limits: LIMITS })
  watch.start()
  onTestFinished(() => watch.stop())
  return { clock, server, told, watch, passes: (ms: number) => clock.advanceTo(clock.now() + ms) }
}

test('a server that answers is healthy, and that is told once', async () => {
  const { told, passes } = watched()
  await passes(10_000)
  expect(told).toEqual(['healthy'])
})

test('a server that pauses is degraded, then unreachable, and healthy again by itself', async () => {
  const { server, told, watch, clock, passes } = watched()
  await passes(2_000)
  const pausedAt = clock.now()
  server.answerMs = 8_000
  await passes(2_000)
  server.answerMs = 1
  expect(watch.now).toMatchObject({ state: 'degraded', reason: 'memory is slow to answer' })
  expect(watch.now.since).toBeGreaterThanOrEqual(pausedAt)
  await passes(20_000)
  expect(told).toEqual([
    'healthy',
    'degraded: memory is slow to answer',
    'unreachable: memory has not answered for 3000 ms',
    expect.stringMatching(/^degraded: memory took 80\d\d ms to answer/),
    'healthy',
  ])
})

test('a server that refuses is unreachable, one that says what is amiss is degraded', async () => {
  const { server, told, passes } = watched()
  server.says = () => {
    throw new Error('connection refused')
  }
  await passes(5_000)
  server.says = () => 'Redis is full'
  await passes(5_000)
  expect(told).toEqual(['unreachable: connection refused', 'degraded: Redis is full'])
})

test('what a Redis says of itself becomes words', () => {
  const sound = { redis_version: '7.0.15', role: 'master', maxmemory: '0', aof_last_write_status: 'ok' }
  const at = (info: Record<string, string>, place = 'a:1') => ({ place, info: { ...sound, ...info } })
  expect(amiss([at({})])).toBeNull()
  const full = { maxmemory: '104857600', used_memory: '104000000', maxmemory_policy: 'noeviction' }
  expect(amiss([at(full)])).toBe('Redis is full: it uses 99 MB of 100 MB (maxmemory), and refuses what makes it grow')
  expect(amiss([at({ ...full, maxmemory_policy: 'allkeys-lru' })])).toMatch(/may drop what actors rest on/)
  expect(amiss([at({}), at({ aof_last_write_status: 'err' }, 'b:2')])).toBe(
    'Redis at b:2 cannot write its append-only file',
  )
  expect(amiss([at({}), { place: 'c:3', error: new Error('timed out') }])).toBe(
    'Redis at c:3 does not answer: timed out',
  )
})

test('a Redis that is too old is refused by its version', () => {
  const at = (redis_version: string) => [{ place: 'a:1', info: { redis_version } }]
  expect(() => checkVersions(at('6.2.14'))).toThrow('Redis 7.0 or newer is needed; a:1 is 6.2.14')
  for (const version of ['7.0.0', '7.4.1', '8.2.0', '10.0.0']) checkVersions(at(version))
})

import { expect, test } from 'vitest'
import { Metrics } from '../../otel/metrics.ts'
import { parseAddress } from '../../runtime/address.ts'
import type { ActorAddress, ShardName } from '../../runtime/address.ts'
import { RuntimeEvents } from '../../runtime/events.ts'

const shard = '3' as ShardName // tests name shards as the runtime does

function commit(actor: ActorAddress, event: string, from: string, to: string): Parameters<RuntimeEvents['emit']>[0] {
  const lines = [{ actor, seq: 1, event, from, to, at: 0 }]
  return { type: 'commit', shard, seq: 1, messages: 1, sends: 2, ms: 3, ageMs: 40, lines }
}

async function listening(): Promise<{ events: RuntimeEvents; text: () => Promise<string> }> {
  const metrics = new Metrics()
  const events = new RuntimeEvents()
  metrics.listen(events)
  return { events, text: async () => (await metrics.render()).body }
}

test('a commit counts its messages, its transitions and the states they entered', async () => {
  const { events, text } = await listening()

  events.emit(commit(parseAddress('job/01J'), 'task.done', 'training', 'evaluating'))

  const body = await text()
  expect(body).toContain('tensorfleet_runtime_messages_total 1')
  expect(body).toContain('tensorfleet_runtime_transitions_total{kind="job",event="task.done"} 1')
  expect(body).toContain('tensorfleet_runtime_states_entered_total{kind="job",state="evaluating"} 1')
  expect(body).toContain('tensorfleet_runtime_commit_seconds_sum 0.003')
})

test('no id of an actor, a job or an effect becomes a label', async () => {
  const { events, text } = await listening()
  const worker = parseAddress('worker/w-SECRET')

  events.emit(commit(worker, 'xstate.done.actor.task/01JSECRET.0', 'busy', 'idle'))
  events.emit(commit(worker, 'xstate.after.drainLimit.SECRET', 'idle', 'gone'))
  events.emit({ type: 'effect.ended', actor: worker, src: 'runTask', outcome: 'done', ms: 5 })
  events.emit({ type: 'timer.fired', actor: worker, timer: 'SECRET', lateMs: 1 })
  const fault = { code: 'actor.unknown', message: 'SECRET', remedy: 'give-up' } as const
  events.emit({ type: 'dead-letter', shard, to: 'SECRET', fault })

  const body = await text()
  expect(body).not.toContain('SECRET')
  expect(body).toContain('tensorfleet_runtime_dead_letters_total{kind="malformed",code="actor.unknown"} 1')
})

test('the shards that a node owns are those it claimed and has neither lost nor released', async () => {
  const { events, text } = await listening()

  for (let i = 0; i < 3; i++) events.emit({ type: 'lease.claimed', shard, epoch: '1', adopted: false })
  events.emit({ type: 'lease.lost', shard, epoch: '1' })
  events.emit({ type: 'lease.released', shard })

  expect(await text()).toContain('tensorfleet_runtime_shards_owned 1')
})

test('requests are counted by route, method and status', async () => {
  const metrics = new Metrics()

  metrics.observeRequest('/v1/jobs/:id', 'GET', 200, 0.004)
  metrics.observeRequest('/v1/jobs/:id', 'BREW', 405, 0.004)

  const { body, contentType } = await metrics.render()
  expect(contentType).toContain('text/plain')
  expect(body).toContain('tensorfleet_http_requests_total{route="/v1/jobs/:id",method="GET",status="200"} 1')
  expect(body).toContain('tensorfleet_http_requests_total{route="/v1/jobs/:id",method="other",status="405"} 1')
  expect(body).toContain('tensorfleet_http_request_seconds_bucket{le="0.005",route="/v1/jobs/:id",method="GET"} 1')
})

test('every name begins with tensorfleet_', async () => {
  const { body } = await new Metrics().render()

  const names = [...body.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)
  expect(names.length).toBeGreaterThan(20)
  expect(names.filter((name) => name?.startsWith('tensorfleet_') !== true)).toEqual([])
})

test('the health of the transport is 1 for the state that it is in, and commits that a failover lost are counted', async () => {
  const { events, text } = await listening()

  events.emit({ type: 'health', transport: 'redis', state: 'healthy', since: 0 })
  events.emit({ type: 'health', transport: 'redis', state: 'degraded', since: 1, reason: 'full' })
  events.emit({ type: 'shard.rolled-back', shard, from: 9, to: 4, lost: [], forgotten: 5 })

  const body = await text()
  expect(body).toContain('tensorfleet_runtime_transport_health{transport="redis",state="healthy"} 0')
  expect(body).toContain('tensorfleet_runtime_transport_health{transport="redis",state="degraded"} 1')
  expect(body).toContain('tensorfleet_runtime_lost_commits_total 5')
})

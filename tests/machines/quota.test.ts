import { expect, test } from 'vitest'
import { QUOTA_LIMITS } from '../../machines/limits.ts'
import { quotaMachine } from '../../machines/quota.ts'
import type { QuotaContext } from '../../machines/quota.ts'
import { Chart } from './chart.ts'

const newQuota = (): Chart => new Chart('quota', quotaMachine, { owner: 'ann' })
const jobsOf = (quota: Chart): QuotaContext['jobs'] => (quota.context as QuotaContext).jobs
const ask = (quota: Chart, job: string, limit: number | null = 2, pool = 'default'): Chart =>
  quota.send({ type: 'admit', job: `job/${job}`, pool, limit, input: { id: job } } as never)
const ended = (quota: Chart, job: string): Chart =>
  quota.send({ type: 'actor.ended', actor: `job/${job}`, status: 'done' } as never)
const replyOf = (quota: Chart): unknown => quota.ops.find(({ op }) => op === 'reply')

test('a job with room is brought to life and counted in one transition, and its end is waited for', () => {
  const quota = ask(newQuota(), 'A')
  expect(quota.spawned).toEqual([{ to: 'job/A', input: { id: 'A' } }])
  expect(quota.ops.map(({ op }) => op)).toEqual(expect.arrayContaining(['spawn', 'watch', 'reply']))
  expect(replyOf(quota)).toMatchObject({ data: { verdict: 'admitted' } })
  expect(jobsOf(quota)).toEqual({ default: ['job/A'] })
})

test('a job over the limit is refused, and nothing has changed', () => {
  const quota = ask(ask(ask(newQuota(), 'A'), 'B'), 'C')
  expect(replyOf(quota)).toMatchObject({ data: { verdict: 'refused', open: 2 } })
  expect([quota.spawned, jobsOf(quota)]).toEqual([[], { default: ['job/A', 'job/B'] }])
})

test('each pool has a count of its own', () => {
  const quota = ask(ask(newQuota(), 'A', 1), 'B', 1, 'gpu')
  expect(jobsOf(quota)).toEqual({ default: ['job/A'], gpu: ['job/B'] })
})

test('a job that is asked for again is counted once, also where there is no more room', () => {
  const quota = ask(ask(newQuota(), 'A', 1), 'A', 1)
  expect(replyOf(quota)).toMatchObject({ data: { verdict: 'known' } })
  expect([quota.spawned, jobsOf(quota)]).toEqual([[], { default: ['job/A'] }])
})

test('a job that has ended makes room, once', () => {
  const quota = ask(ask(newQuota(), 'A'), 'B')
  ended(ended(quota, 'A'), 'A')
  expect(jobsOf(quota)).toEqual({ default: ['job/B'] })
  expect(replyOf(ask(quota, 'C'))).toMatchObject({ data: { verdict: 'admitted' } })
  expect(jobsOf(ended(ended(quota, 'B'), 'C'))).toEqual({})
})

test('without a limit of the pool there is one all the same', () => {
  const quota = newQuota()
  for (let i = 0; i < 100; i++) ask(quota, `J${i}`, null)
  expect(jobsOf(quota)['default']).toHaveLength(100)
  expect(QUOTA_LIMITS.jobsMax).toBeGreaterThan(100)
})

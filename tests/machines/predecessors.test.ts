import { describe, expect, test } from 'vitest'
import { batchMachine } from '../../machines/batch.ts'
import type { Fault } from '../../machines/fault.ts'
import type { Predecessor } from '../../machines/spec.ts'
import { Chart, FAULTS, newJob, newSweep, PLAN, SPEC, SWEEP } from './chart.ts'

const EVALUATE = { kind: 'evaluate', name: 'look', model: 'digits', dataset: { name: 'mnist' }, split: 'test', pool: 'default', priority: 'normal' } // prettier-ignore
const newBatch = (more: object = {}): Chart =>
  new Chart('batch', batchMachine, { id: 'evaluate-B', owner: 'ann', spec: { ...EVALUATE, ...more } } as never)

const KINDS: readonly [kind: string, make: (after?: readonly Predecessor[]) => Chart, begun: string][] = [
  ['a job', (after) => newJob({ ...SPEC, ...(after && { after }) }), 'validating'],
  ['a batch job', (after) => newBatch({ ...(after && { after }) }), 'preparing'],
  ['a sweep', (after) => newSweep({ ...SWEEP, ...(after && { after }) }), 'running'],
]
const both = (otherwise: 'fail' | 'begin'): readonly Predecessor[] => [
  { job: 'kernel-A', otherwise },
  { job: 'sweep-B', otherwise },
]
const ended = (chart: Chart, actor: string, outcome: string, status = 'done'): Chart =>
  chart.send({ type: 'actor.ended', actor, status, output: { outcome } } as never)
const faultOf = (chart: Chart): Fault | null => (chart.context as { fault: Fault | null }).fault

describe.each(KINDS)('%s', (_, make, begun) => {
  test('waits until all before it have completed, whatever they are', () => {
    const chart = make([...both('fail'), { job: 'J1', otherwise: 'fail' }])
    const watched = chart.ops.flatMap((op) => (op.op === 'watch' ? [op.to] : []))
    expect(watched).toEqual(['batch/kernel-A', 'sweep/sweep-B', 'job/J1'])
    ended(chart, 'sweep/sweep-B', 'completed')
    expect(ended(chart, 'batch/kernel-A', 'completed').value).toBe('waiting')
    expect(ended(chart, 'job/J1', 'completed').value).toBe(begun)
  })

  test.each([
    ['failed', 'done', 'it has failed'],
    ['cancelled', 'done', 'it has been cancelled'],
    ['', 'error', 'it has failed'],
    ['', 'gone', 'it is not there'],
  ])('fails where one ended otherwise (%s %s), and names it', (outcome, status, how) => {
    const chart = ended(make(both('fail')), 'sweep/sweep-B', outcome || 'failed', status)
    expect([chart.value, chart.output]).toMatchObject(['failed', { outcome: 'failed' }])
    expect(faultOf(chart)).toMatchObject({
      code: 'job.predecessor-failed',
      message: `Sweep sweep-B, which this one comes after, has not completed: ${how}`,
    })
  })

  test('begins all the same where its spec says so', () => {
    const chart = ended(make(both('begin')), 'batch/kernel-A', 'failed')
    expect(ended(chart, 'sweep/sweep-B', '', 'gone').value).toBe(begun)
  })

  test('is paused and cancelled while it waits, and goes on waiting', () => {
    const chart = make(both('fail')).send({ type: 'pause' })
    expect(chart.value).toBe('paused')
    ended(chart, 'sweep/sweep-B', 'completed')
    expect(chart.send({ type: 'resume' }).value).toBe('waiting')
    expect(chart.ops.flatMap((op) => (op.op === 'watch' ? [op.to] : []))).toEqual(['batch/kernel-A', 'sweep/sweep-B'])
    expect(chart.send({ type: 'cancel' }).value).toBe('cancelled')
    expect(chart.output).toEqual({ outcome: 'cancelled' })
  })

  test('does not wait for ever', () => {
    expect(make(both('fail')).after('waitLimit').value).toBe('failed')
  })
})

describe('who has ended says how', () => {
  test('a job', () => {
    const outputs = [newJob().send({ type: 'cancel' }), newJob().fail('validate', FAULTS.user)].map((job) => job.output)
    expect(outputs).toEqual([{ outcome: 'cancelled' }, { outcome: 'failed' }])
  })

  test('a batch job', () => {
    const batch = newBatch().finish('prepare', { rows: 1, chunks: 1, data: 'm', model: 'digits@4', work: { kind: 'evaluate' } }) // prettier-ignore
    expect((batch.context as { spec: object }).spec).toMatchObject({ model: 'digits@4' })
    const output = { kind: 'evaluate', slice: 0, sums: { sha256: 's', sizeBytes: 1 }, elapsedMs: 1 }
    batch.send({ type: 'task.done', task: 'task/evaluate-B.0', worker: 'worker/a', fingerprint: 'f', output } as never)
    expect(batch.finish('finish', { evaluation: {} }).output).toEqual({ outcome: 'completed' })
  })

  test('a sweep, which has completed only when its model is registered', () => {
    const searched = (): Chart => {
      const sweep = newSweep({ ...SWEEP, model: 'best' })
      const trial = { round: 1, step: 1, steps: 1, value: 1, fault: null, training: { plan: PLAN, weights: { sha256: 'w', sizeBytes: 1 } } } // prettier-ignore
      for (let i = 0; sweep.value === 'running'; i++) {
        const output = { outcome: 'completed', trial }
        sweep.send({ type: 'actor.ended', actor: `job/S-${i}`, status: 'done', output } as never)
      }
      return sweep
    }
    expect(searched().finish('register', { name: 'best', version: 1 }).output).toEqual({ outcome: 'completed' })
    expect(searched().send({ type: 'cancel' }).output).toEqual({ outcome: 'cancelled' })
  })
})

/**
 * A sweep outlives the processes that carry it: killed in the middle, it finds the same trial with the same weights as
 * one that nothing disturbed, and no trial is started or trained twice.
 */
import { expect, test, vi } from 'vitest'
import type { SweepView } from '../../machines/sweep-spec.ts'
import { smallJob } from '../harness/jobs.ts'
import { JOB_MS, ProcessFleet, WAIT } from '../harness/processes.ts'

const SWEEP = {
  kind: 'sweep',
  name: 'small-sweep',
  job: { ...smallJob, train: { ...smallJob.train, replicas: 1, strategy: { kind: 'local', roundSteps: 6 } } },
  parameters: { 'train.optimizer.learningRate': [0.00001, 0.00002, 0.00003, 0.00004, 0.00005, 0.003] },
  metric: 'accuracy',
  scheduler: { kind: 'asha', minRounds: 1, maxRounds: 9, eta: 3 },
  parallelism: 2,
  model: 'small-best',
}

test(
  'a control process and a worker killed in the middle of a sweep cost nothing but time',
  { timeout: 3 * JOB_MS },
  async () => {
    await using fleet = await ProcessFleet.start()
    const api = await fleet.api()
    const submit = async (): Promise<string> => (await api.submitSweep(JSON.stringify(SWEEP), 'application/json')).id
    const look = (id: string): Promise<SweepView | null> => api.sweep(id).catch(() => null) // it may be down just now
    const untilSweep = (id: string, is: (sweep: SweepView) => boolean): Promise<SweepView> =>
      vi.waitUntil(
        async () => {
          const sweep = await look(id)
          return sweep !== null && is(sweep) ? sweep : undefined
        },
        { ...WAIT, timeout: JOB_MS },
      )
    const ended = ({ state }: SweepView): boolean => state === 'completed' || state === 'failed'

    const undisturbed = await untilSweep(await submit(), ended)
    const id = await submit()
    await untilSweep(id, ({ progress }) => progress.waiting >= 2)
    fleet.kill(fleet.one('control'))
    await untilSweep(id, ({ progress }) => progress.waiting >= 4)
    fleet.kill(await fleet.busyWorker())
    const disturbed = await untilSweep(id, ended)

    const { best, progress, state } = disturbed
    expect({ state, trial: best?.trial, value: best?.value }).toEqual({ state: 'completed', trial: undisturbed.best?.trial, value: undisturbed.best?.value }) // prettier-ignore
    expect(progress).toMatchObject({ trials: 6, started: 6, completed: 1, stopped: 5, failed: 0 })
    const jobs = await api.jobs({ limit: 100 })
    for (const sweep of [undisturbed, disturbed]) {
      const trials = jobs.filter((job) => job.sweep?.id === sweep.id)
      expect(new Set(trials.map((job) => job.sweep?.trial))).toEqual(new Set([0, 1, 2, 3, 4, 5]))
      expect(trials).toHaveLength(6)
      for (const {
        workers,
        progress: { round },
      } of trials) {
        expect(Object.values(workers).reduce((sum, rounds) => sum + rounds, 0)).toBe(round)
      }
    }
    const weightsOf = async (sweep: SweepView): Promise<string | undefined> =>
      (await api.job(sweep.best?.job ?? '')).weights
    expect(await weightsOf(disturbed)).toBe(await weightsOf(undisturbed))
    const models = (await api.models()).map(({ name, version, sweep }) => [name, version, sweep?.id])
    expect(models).toEqual([['small-best', 2, disturbed.id], ['small-best', 1, undisturbed.id]]) // prettier-ignore
  },
)

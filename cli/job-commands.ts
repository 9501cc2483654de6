/** The commands that steer jobs and workers: pause, resume, retry, clone, drain. */
import type { Command } from 'commander'
import type { BatchView } from '../machines/batch-spec.ts'
import type { JobView, PoolView } from '../machines/views.ts'
import { onApi } from './api-command.ts'
import { isBatchId } from './batches.ts'
import { changesOf } from './changes.ts'
import { countOrNone } from './count.ts'
import { print, printJson } from './output.ts'

/** Adds the commands to the program, and `drain` to those of workers. */
export function addSteering(program: Command, workers: Command): void {
  onApi<[string]>(
    program
      .command('pause')
      .argument('<job>', "the job's id")
      .option('--now', 'do not wait for the end of the round: it will be run again; a batch job never waits')
      .description('pause a job; its result will be the same'),
    async (api, options, id) => {
      const now = options['now'] === true
      show(await (isBatchId(id) ? api.steerBatch(id, 'pause') : api.pause(id, { now })), options)
    },
  )

  onApi<[string]>(
    program.command('resume').argument('<job>', "the job's id").description('let a paused job go on'),
    async (api, options, id) => show(await (isBatchId(id) ? api.steerBatch(id, 'resume') : api.resume(id)), options),
  )

  onApi<[string]>(
    program
      .command('retry')
      .argument('<job>', "the job's id")
      .description('try a failed job again from its last checkpoint, and say the new id'),
    async (api, options, id) => showNew(await api.retry(id), options),
  )

  onApi<[string]>(
    program
      .command('clone')
      .argument('<job>', "the job's id")
      .option('--set <field=value>', 'a change, as train.epochs=5; may be given again', collect, [])
      .description('submit a job like another one, with changes, and say its id'),
    async (api, options, id) => showNew(await api.clone(id, changesOf(options['set'] as string[])), options),
  )

  onApi(
    program
      .command('pool')
      .option('--name <pool>', 'which one; all are shown when left out, and default is changed')
      .option('--policy <policy>', 'affinity, least-loaded, round-robin or resource-aware')
      .option(
        '--slots-per-owner <count>',
        'how many slots one owner may hold at once, or "none" for any number',
        countOrNone,
      )
      .option(
        '--jobs-per-owner <count>',
        'how many jobs one owner may have, under way or waiting, or "none"',
        countOrNone,
      )
      .description('show pools: their slots, what waits, their settings; or change these of one'),
    async (api, options) => {
      const { name, policy, slotsPerOwner, jobsPerOwner } = options as { name?: string } & Record<string, unknown>
      const settings = {
        ...(policy !== undefined && { policy }),
        ...(slotsPerOwner !== undefined && { slotsPerOwner: slotsPerOwner === 'none' ? null : slotsPerOwner }),
        ...(jobsPerOwner !== undefined && { jobsPerOwner: jobsPerOwner === 'none' ? null : jobsPerOwner }),
      }
      const isChange = Object.keys(settings).length > 0
      const one = name ?? 'default'
      const pools = isChange
        ? [await api.configurePool(one, settings)]
        : name === undefined
          ? await api.pools()
          : [await api.pool(one)]
      if (options.json === true) printJson(pools)
      else print(pools.map(poolText).join('\n'))
    },
  )

  onApi<[string]>(
    workers
      .command('drain')
      .argument('<worker>', "the worker's id")
      .description('give a worker no more tasks; it leaves when those it has are done'),
    async (api, options, id) => {
      await api.drain(id)
      if (options.json === true) printJson({ id, state: 'draining' })
      else print(`${id} is draining`)
    },
  )
}

function poolText({ pool, settings, slots, waiting }: PoolView): string {
  const quota = (limit: number | null): string => (limit === null ? 'any number' : String(limit))
  return [
    `${pool}: ${slots.used} of ${slots.total} slots in use`,
    `  waiting   ${waiting.high} high, ${waiting.normal} normal, ${waiting.low} low`,
    `  policy    ${settings.policy}; of one owner: slots ${quota(settings.slotsPerOwner)}, jobs ${quota(settings.jobsPerOwner)}`,
  ].join('\n')
}

function show(job: Pick<JobView | BatchView, 'id' | 'state'>, options: { readonly json?: boolean }): void {
  if (options.json === true) printJson(job)
  else print(`${job.id} is ${job.state}`)
}

function showNew(job: JobView, options: { readonly json?: boolean }): void {
  if (options.json === true) printJson(job)
  else print(job.id)
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value]
}

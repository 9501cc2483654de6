/** `gc`: blobs to which nothing refers any more are removed, and jobs that ended long ago where that is asked for. */
import type { Command } from 'commander'
import { onApi } from './api-command.ts'
import { CliError, EXIT } from './errors.ts'
import { print, printJson, sizeOf } from './output.ts'

const IDS_SHOWN = 20

export function addGcCommand(program: Command): void {
  onApi(
    program
      .command('gc')
      .option('--dry-run', 'only say what would be removed')
      .option(
        '--older-than <age>',
        'what was stored since stays: a job may not have told of it yet',
        hours,
        hours('24h'),
      )
      .option(
        '--jobs-older-than <age>',
        'remove jobs, too, that ended before (such as 30d), with their checkpoints and outputs; what a version of a model or a sweep rests on stays',
        hours,
      )
      .description('remove blobs to which nothing refers any more; the fleet does so by itself every few hours'),
    async (api, options) => {
      const isDryRun = options['dryRun'] === true
      const jobsOlderThanHours = options['jobsOlderThan'] as number | undefined
      const report = await api.gc({
        dryRun: isDryRun,
        olderThanHours: options['olderThan'] as number,
        ...(jobsOlderThanHours !== undefined && { jobsOlderThanHours }),
      })
      const { removed, removedBytes, kept, young, jobs } = report
      if (options.json === true) return printJson(report)
      const verb = isDryRun ? 'Would remove' : 'Removed'
      if (jobsOlderThanHours !== undefined) {
        const shown = jobs.ids.slice(0, IDS_SHOWN)
        const more = jobs.removed > shown.length ? ', …' : ''
        print(`${verb} ${jobs.removed} jobs${shown.length === 0 ? '' : `: ${shown.join(', ')}${more}`}`)
        if (jobs.trimmed > 0)
          print(`${verb} older checkpoints of ${jobs.trimmed} jobs that a model or a sweep rests on`)
      }
      print(`${verb} ${removed} blobs (${sizeOf(removedBytes)}); ${kept} are referred to, ${young} are too young to be sure`) // prettier-ignore
    },
  )
}

const UNIT_HOURS: Readonly<Record<string, number>> = { h: 1, d: 24, w: 7 * 24 }

/** `36h`, `30d` or `4w`. */
function hours(text: string): number {
  const [, amount = '', unit = ''] = /^(\d{1,6})([hdw])$/.exec(text) ?? []
  const value = Number(amount) * (UNIT_HOURS[unit] ?? 0)
  if (value > 0) return value
  throw new CliError(`Cannot use "${text}": expected an age such as 36h, 30d or 4w`, { exitCode: EXIT.usage })
}

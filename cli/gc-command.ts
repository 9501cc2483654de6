/** `gc`: blobs to which nothing refers any more are removed. */
import type { Command } from 'commander'
import { onApi } from './api-command.ts'
import { count } from './count.ts'
import { print, printJson, sizeOf } from './output.ts'

export function addGcCommand(program: Command): void {
  onApi(
    program
      .command('gc')
      .option('--dry-run', 'only say what would be removed')
      .option('--older-than <hours>', 'what was stored since stays: a job may not have told of it yet', count, 24)
      .description('remove blobs to which nothing refers any more; the fleet does so by itself every few hours'),
    async (api, options) => {
      const isDryRun = options['dryRun'] === true
      const report = await api.gc({ dryRun: isDryRun, olderThanHours: options['olderThan'] as number })
      const { removed, removedBytes, kept, young } = report
      if (options.json === true) return printJson(report)
      const verb = isDryRun ? 'Would remove' : 'Removed'
      print(`${verb} ${removed} blobs (${sizeOf(removedBytes)}); ${kept} are referred to, ${young} are too young to be sure`) // prettier-ignore
    },
  )
}

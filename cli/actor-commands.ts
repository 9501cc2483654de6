/** `tensorfleet actors`: how many actors there are, by kind and state; and those of one kind. */
import type { Command } from 'commander'
import { onApi } from './api-command.ts'
import type { ActorCountView, ActorView } from './api.ts'
import { count } from './count.ts'
import { CliError, EXIT } from './errors.ts'
import { ago, note, print, printJson, table } from './output.ts'

export function addActorCommands(program: Command): void {
  onApi<[string | undefined]>(
    program
      .command('actors')
      .description('count the actors by kind and state, or list those of a kind, longest in their state first')
      .argument('[kind]', 'job, task, worker, …')
      .option('--state <state>', 'only those in this state, or in one within it')
      .option('-n, --limit <count>', 'at most so many', count, 50),
    async (api, options, kind) => {
      const state = options['state'] as string | undefined
      if (kind === undefined) {
        if (state !== undefined) {
          throw new CliError('Cannot list actors by their state alone: a kind is missing', {
            exitCode: EXIT.usage,
            details: ['As in: tensorfleet actors job --state training'],
          })
        }
        const counts = await api.actorCounts()
        if (options.json === true) printJson(counts)
        else if (counts.length === 0) note('No actors.')
        else print(table(['KIND', 'STATE', 'ACTORS'], counts.map(countRow)))
        return
      }
      const found = await api.actors({ kind, limit: options['limit'] as number, ...(state !== undefined && { state }) })
      if (options.json === true) printJson(found)
      else if (found.length === 0) note('No such actors.')
      else print(table(['ACTOR', 'STATE', 'SINCE'], found.map(actorRow)))
    },
  )
}

function countRow({ kind, state, actors }: ActorCountView): readonly string[] {
  return [kind, state === '' ? '–' : state, String(actors)]
}

function actorRow({ actor, state, since }: ActorView): readonly string[] {
  return [actor, state === '' ? '–' : state, ago(since)]
}

/** The commands of sweeps: submit and follow one, see its leaderboard, steer all of its trials at once. */
import type { Command } from 'commander'
import type { SweepView } from '../machines/sweep-spec.ts'
import { onApi } from './api-command.ts'
import type { Api, SweepSummary } from './api.ts'
import { count } from './count.ts'
import { ago, fixed, note, print, printJson, table } from './output.ts'
import { readSpecFile } from './spec-file.ts'
import type { SpecFile } from './spec-file.ts'
import { leaderboardText, watchSweepToEnd } from './sweep-watch.ts'

/** Adds the commands to the program. `signal` is aborted by Ctrl-C. */
export function addSweepCommands(program: Command, signal: AbortSignal): void {
  const sweep = program
    .command('sweep')
    .argument('<file>', 'the sweep: YAML or JSON, - for standard input')
    .option('-f, --follow', 'follow it to its end; the exit code says how it went')
    .option('--key <key>', 'submit at most once under this key')
    .description('submit a sweep (one job in many variants) and say its id; or see and steer one')
    .enablePositionalOptions()

  onApi<[string]>(sweep, async (api, options, file) =>
    submitSweep(api, await readSpecFile(file), { ...options, follow: options['follow'] === true }, signal),
  )

  onApi<[string]>(
    sweep
      .command('show')
      .argument('<sweep>', "the sweep's id")
      .option('-n, --limit <count>', 'at most so many trials', count, 20)
      .option('-f, --follow', 'follow it to its end')
      .description('show a sweep: how far it is, and its trials with the best one first'),
    async (api, options, id) => {
      if (options['follow'] === true) {
        await watchSweepToEnd(api, id, options, signal)
        return
      }
      const view = await api.sweep(id)
      if (options.json === true) printJson(view)
      else print(sweepText(view, options['limit'] as number))
    },
  )

  const verbs = [
    ['pause', 'pause a sweep and its trials; what they come to is the same'],
    ['resume', 'let a paused sweep go on'],
    ['cancel', 'cancel a sweep and its trials'],
  ] as const
  for (const [verb, description] of verbs) {
    onApi<[string]>(
      sweep.command(verb).argument('<sweep>', "the sweep's id").description(description),
      async (api, options, id) => {
        const view = await api.steerSweep(id, verb)
        if (options.json === true) printJson(view)
        else print(`${view.id} is ${view.state}`)
      },
    )
  }

  onApi(
    program
      .command('sweeps')
      .description('list sweeps, newest first')
      .option('-n, --limit <count>', 'at most so many', count, 20),
    async (api, options) => {
      const sweeps = await api.sweeps({ limit: options['limit'] as number })
      if (options.json === true) printJson(sweeps)
      else if (sweeps.length === 0) note('No sweeps. Submit one with "tensorfleet sweep FILE".')
      else print(table(['ID', 'NAME', 'STATE', 'TRIALS', 'STEPS', 'BEST', 'MODEL', 'AGE'], sweeps.map(sweepRow)))
    },
  )
}

export async function submitSweep(
  api: Api,
  { text, type }: SpecFile,
  options: { readonly json?: boolean; readonly key?: string; readonly follow: boolean },
  signal: AbortSignal,
): Promise<void> {
  const sweep = await api.submitSweep(text, type, options.key)
  if (options.follow) await watchSweepToEnd(api, sweep.id, options, signal)
  else if (options.json === true) printJson(sweep)
  else print(sweep.id)
}

function sweepRow({ id, name, state, progress, best, model, createdAt }: SweepSummary): readonly string[] {
  const { trials, completed, stopped, failed, cancelled, steps } = progress
  const ended = completed + stopped + failed + cancelled
  const registered = model === undefined ? '–' : `${model.name}@${model.version}`
  return [id, name, state, `${ended}/${trials}`, String(steps), fixed(best?.value), registered, ago(createdAt)]
}

function sweepText(sweep: SweepView, limit: number): string {
  const { name, state, progress, leaderboard, model, error } = sweep
  const { trials, started, running, waiting, completed, stopped, failed, cancelled, steps } = progress
  const counts = [
    `${running} running`,
    `${waiting} waiting`,
    `${completed} completed`,
    `${stopped} stopped`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(cancelled > 0 ? [`${cancelled} cancelled`] : []),
  ].join(', ')
  return [
    `${name}: ${state}, ${started} of ${trials} trials started (${counts}), ${steps} steps`,
    ...(error === undefined ? [] : [`  ${error.message}`]),
    leaderboardText(sweep, limit),
    ...(leaderboard.length > limit ? [`  … and ${leaderboard.length - limit} more`] : []),
    ...(model === undefined ? [] : [`model ${model.name}@${model.version}`]),
  ].join('\n')
}

/** The commands of training beside `submit`: train by a preset, and see, restore or take home a job's checkpoints. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Option } from 'commander'
import type { Command } from 'commander'
import { stringify } from 'yaml'
import type { PresetName } from '../machines/preset-spec.ts'
import type { CheckpointView, JobView } from '../machines/views.ts'
import type { Api } from './api.ts'
import { onApi } from './api-command.ts'
import { count } from './count.ts'
import { datasetRef } from './dataset-ref.ts'
import { CliError, EXIT } from './errors.ts'
import { modelRef } from './model-ref.ts'
import { tellOutlook, wishesOf } from './outlook.ts'
import { fixed, note, percent, print, printJson, sizeOf, table } from './output.ts'
import { watchToEnd } from './watch-command.ts'

/** As a record, so that none can be missing. */
const PRESETS: Record<PresetName, true> = { linear: true, logistic: true, mlp: true, cnn: true, autoencoder: true }

export function addTrainCommands(program: Command, signal: AbortSignal): void {
  onApi<[string]>(
    program
      .command('train')
      .argument('<dataset>', 'NAME or NAME@VERSION')
      .addOption(new Option('-p, --preset <preset>', 'what kind of model').choices(Object.keys(PRESETS)))
      .option('--from <model>', 'go on with this model instead: NAME, NAME@VERSION or NAME@ALIAS')
      .option('-t, --target <column>', "the column to predict; the dataset's own when left out")
      .option('--features <columns>', 'the columns to predict from, with commas between them; all others when left out')
      .option('--name <name>', 'of the job and its model')
      .option('--epochs <count>', "instead of the preset's own", count)
      .option('-w, --watch', 'follow it to its end; the exit code says how it went')
      .description('train a preset, or a model further, on a dataset, and say the whole specification of it'),
    async (api, options, dataset) => {
      const { preset, from, target, features, name, epochs } = options as Partial<Record<string, string>>
      if ((preset === undefined) === (from === undefined)) {
        throw new CliError('Expected either --preset or --from', { exitCode: EXIT.usage })
      }
      const start = from === undefined ? { preset } : await startFrom(api, from, epochs)
      const spec = {
        ...start,
        ...(name !== undefined && { name }),
        dataset: {
          ...datasetRef(dataset),
          ...(target !== undefined && { target }),
          ...(features !== undefined && { features: features.split(',').map((column) => column.trim()) }),
        },
        ...(epochs !== undefined && from === undefined && { train: { epochs: Number(epochs) } }),
      }
      const job = await api.submit(JSON.stringify(spec), 'application/json')
      await tellOutlook(api, wishesOf(job))
      if (options.json === true && options['watch'] !== true) printJson(job)
      else {
        note(stringify(job.spec).trimEnd())
        if (options['watch'] === true) await watchToEnd(api, job.id, options, signal)
        else print(job.id)
      }
    },
  )

  const checkpoint = program.command('checkpoint').description("a job's checkpoints: see, restore, take home")

  onApi<[string]>(
    checkpoint.command('ls').argument('<job>', "the job's id").description('list those that can be restored'),
    async (api, options, id) => {
      const { checkpoints } = await api.job(id)
      if (options.json === true) printJson(checkpoints)
      else if (checkpoints.length === 0) note('No checkpoints yet.')
      else print(table(['ROUND', 'STEP', 'LOSS', 'ACCURACY', 'SIZE', 'WEIGHTS', ''], checkpoints.map(checkpointRow)))
    },
  )

  onApi<[string, string]>(
    checkpoint
      .command('restore')
      .argument('<job>', "the job's id")
      .argument('<round>', 'a round, or "best"')
      .option('-w, --watch', 'follow the new job to its end')
      .description('go on from a checkpoint with a new job, and say its id'),
    async (api, options, id, round) => {
      const job = await api.restore(id, round)
      if (options['watch'] === true) await watchToEnd(api, job.id, options, signal)
      else if (options.json === true) printJson(job)
      else print(job.id)
    },
  )

  onApi<[string, string]>(
    checkpoint
      .command('export')
      .argument('<job>', "the job's id")
      .argument('<round>', 'a round, or "best"')
      .option('-o, --out <folder>', 'where to write the files', '.')
      .description('take a checkpoint home: weights (safetensors) and topology (Keras JSON)'),
    async (api, options, id, round) => {
      const job = await api.job(id)
      const folder = options['out'] as string
      await mkdir(folder, { recursive: true })
      const files = await Promise.all(
        (['weights', 'topology'] as const).map(async (file) => {
          const ending = file === 'weights' ? 'safetensors' : 'json'
          const path = join(folder, `${job.name}-round-${roundOf(job, round)}.${ending}`)
          const response = await api.checkpoint(id, round, file)
          await writeFile(path, new Uint8Array(await response.arrayBuffer()))
          return path
        }),
      )
      if (options.json === true) printJson({ files })
      else print(files.join('\n'))
    },
  )
}

/** As the model was trained, but for the epochs; its next version comes of it. */
async function startFrom(api: Api, ref: string, epochs: string | undefined): Promise<object> {
  const { name, version } = modelRef(ref)
  const model = await api.model(name, version)
  return {
    name,
    model: { from: `${model.name}@${model.version}` },
    train: { ...model.spec.train, ...(epochs !== undefined && { epochs: Number(epochs) }) },
  }
}

function roundOf(job: JobView, round: string): string {
  return round === 'best' ? String(job.checkpoints.find(({ isBest }) => isBest)?.round ?? round) : round
}

function checkpointRow({ round, step, weights, metrics, isBest }: CheckpointView): readonly string[] {
  const size = sizeOf(weights.sizeBytes)
  const best = isBest === true ? 'best' : ''
  return [String(round), String(step), fixed(metrics?.loss), percent(metrics?.accuracy), size, weights.sha256.slice(0, 12), best] // prettier-ignore
}

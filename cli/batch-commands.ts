/** `evaluate` and `predict`: a registered model over a split of a dataset, by a batch job on all workers. */
import { Option } from 'commander'
import type { Command } from 'commander'
import type { Api } from './api.ts'
import { onApi } from './api-command.ts'
import type { CommonOptions } from './api-command.ts'
import { watchBatch } from './batch-watch.ts'
import { downloadOutput, summaryOf } from './batches.ts'
import { datasetRef } from './dataset-ref.ts'
import { CliError, EXIT } from './errors.ts'
import { MODEL } from './model-ref.ts'
import { percent, print, printJson } from './output.ts'
import { parseJson, readText } from './spec-file.ts'
import { modelRef } from './model-ref.ts'

export function addBatchCommands(program: Command, signal: AbortSignal): void {
  const split = (): Option =>
    new Option('--split <split>', 'which part of it').choices(['train', 'validation', 'test']).default('test')
  const backend = (): Option => new Option('--backend <name>', 'only workers with this back end')
  const after = (): Option => new Option('--after <id...>', 'only when these jobs or sweeps have completed; the model may be what they make') // prettier-ignore

  onApi<[string]>(
    program
      .command('evaluate')
      .argument('<model>', MODEL)
      .requiredOption('--dataset <dataset>', 'NAME or NAME@VERSION')
      .addOption(split())
      .addOption(backend())
      .addOption(after())
      .option('--detach', "say the job's id and do not wait for it")
      .description('measure a model on a dataset, on all workers'),
    async (api, options, model) => {
      const job = await submit(api, { kind: 'evaluate', model, ...useOf(options) })
      if (options['detach'] === true) return said(job.id, job, options)
      const ended = await watchBatch(api, job.id, { ...options, json: false }, signal)
      said(summaryOf(ended), ended, options)
    },
  )

  onApi<[string, string | undefined]>(
    program
      .command('predict')
      .argument('<model>', MODEL)
      .argument('[file]', 'JSON: a list of examples, each of the shape that the model takes; - for standard input')
      .option('--dataset <dataset>', 'instead of a file: NAME or NAME@VERSION, by a job on all workers')
      .addOption(split())
      .addOption(backend())
      .addOption(after())
      .addOption(
        new Option('-f, --format <format>', 'of the file that the job writes')
          .choices(['npy', 'csv', 'jsonl'])
          .default('csv'),
      )
      .option('-o, --out <file>', 'where to write it; into this folder under its own name when left out')
      .option('--detach', "say the job's id and do not wait for it")
      .description('predict with a registered model'),
    async (api, options, model, file) => {
      const { dataset, out } = options as { readonly dataset?: string; readonly out?: string }
      if ((file === undefined) === (dataset === undefined)) {
        throw new CliError('Expected either a file of examples or --dataset', { exitCode: EXIT.usage })
      }
      if (file !== undefined) return predictFile(api, options, model, file)
      const job = await submit(api, { kind: 'predict', model, format: options['format'], ...useOf(options) })
      if (options['detach'] === true) return said(job.id, job, options)
      await watchBatch(api, job.id, { ...options, json: false }, signal)
      const path = await downloadOutput(api, job.id, out === undefined ? { folder: '.' } : { path: out })
      said(path, { ...(await api.batch(job.id)), files: [path] }, options)
    },
  )
}

function useOf(options: CommonOptions & Readonly<Record<string, unknown>>): object {
  const { dataset, split, backend, after } = options
  return {
    dataset: datasetRef(String(dataset)),
    split,
    ...(backend !== undefined && { backend }),
    ...(after !== undefined && { after }),
  }
}

function submit(api: Api, spec: object): ReturnType<Api['submitBatch']> {
  return api.submitBatch(JSON.stringify(spec), 'application/json')
}

function said(text: string, value: object, { json }: CommonOptions): void {
  if (json === true) printJson(value)
  else print(text)
}

async function predictFile(api: Api, options: CommonOptions, model: string, file: string): Promise<void> {
  const { name, version } = modelRef(model)
  const prediction = await api.predict(name, version, parseJson(file, await readText(file)))
  const { classes, outputs } = prediction
  const lines = outputs.map((row, i) =>
    classes === undefined ? row.join('  ') : `${classes[i]}  ${percent(Math.max(...row))}`,
  )
  said(lines.join('\n'), prediction, options)
}

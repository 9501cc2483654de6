/** The commands for data: make a version of files, see what is in it, remove it. */
import { openAsBlob } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { Option } from 'commander'
import type { Command } from 'commander'
import type { DatasetDetailView, DatasetView } from '../machines/views.ts'
import { onApi } from './api-command.ts'
import { count } from './count.ts'
import { CliError, EXIT } from './errors.ts'
import { ago, note, print, printJson, sizeOf, table } from './output.ts'

const DATASET = 'NAME or NAME@VERSION'

export function addDatasetCommands(program: Command): void {
  const dataset = program.command('dataset').description('data to train on: versions made of files')

  onApi<[string, string[]]>(
    dataset
      .command('add')
      .argument('<name>', 'of the dataset; the same content under it is the same version')
      .argument('<file...>', 'CSV, TSV, JSON Lines, Parquet, NPY, NPZ, IDX, or a zip of folders of pictures')
      .description('make a version of files; names like train.csv and test.csv say their split')
      .option('-t, --target <column>', 'the column to predict')
      .option('--type <column=type>', 'number, int, byte, category, date or skip; may be given often', collect, [])
      .addOption(new Option('--missing <policy>', 'rows with missing values').choices(['keep', 'drop', 'refuse']))
      .option(
        '--validation <share>',
        'share of the rows for validation, or of train.csv where there is no validation.csv',
        share,
      )
      .option('--test <share>', 'share of the rows for testing, likewise', share)
      .option('--seed <number>', 'of the split', seed)
      .option('--format <format>', 'where the names do not tell')
      .option('--header', 'CSV: the first line names the columns')
      .option('--no-header', 'CSV: the first line is data')
      .option('--delimiter <character>', 'CSV: between fields')
      .option('--image <height>x<width>[x<channels>]', 'bring pictures to this size'),
    async (api, options, name, files) => {
      const form = new FormData()
      form.set('name', name)
      form.set('options', JSON.stringify(ingestOptions(options)))
      for (const file of files) form.append('file', await blobOf(file), basename(file))
      let made: { dataset: DatasetView; isNew: boolean } | undefined
      let failure: CliError | undefined
      await api.addDataset(form, ({ event, data }) => {
        const message: unknown = JSON.parse(data) // typed by the views that the API shares with us, event by event
        if (event === 'progress') showProgress(message as Progress)
        else if (event === 'done') made = message as typeof made
        else if (event === 'problem') failure = failureOf(message as { detail: string })
      })
      if (failure !== undefined) throw failure
      if (made === undefined)
        throw new CliError('The connection broke before the version was made; nothing was changed')
      const { dataset: view, isNew } = made
      if (options.json === true) printJson(view)
      else if (!isNew) print(`${view.name}@${view.version} has this content already`)
      else print(`${view.name}@${view.version}  ${view.rows} rows  ${sizeOf(view.sizeBytes)}`)
    },
  )

  onApi(dataset.command('ls').description('list versions of all datasets, newest first'), async (api, options) => {
    show(await api.datasets(), options.json)
  })

  onApi<[string]>(
    dataset.command('versions').argument('<name>').description('list the versions of a dataset'),
    async (api, options, name) => show(await api.datasetVersions(name), options.json),
  )

  onApi<[string]>(
    dataset
      .command('show')
      .argument('<dataset>', DATASET)
      .option('-n, --rows <count>', 'also so many rows', count)
      .description('columns, splits and statistics of a version'),
    async (api, options, ref) => {
      const { name, version } = refOf(ref)
      const detail = await api.dataset(name, version)
      const wanted = options['rows'] as number | undefined
      const sample =
        wanted === undefined ? undefined : (await api.datasetRows(name, String(detail.version), wanted)).rows
      if (options.json === true) return printJson({ ...detail, ...(sample !== undefined && { sample }) })
      print(describe(detail))
      for (const row of sample ?? []) print(JSON.stringify(row, shortened))
    },
  )

  onApi<[string]>(
    dataset.command('rm').argument('<dataset>', 'NAME@VERSION').description('remove a version that nothing rests on'),
    async (api, _, ref) => {
      const { name, version } = refOf(ref)
      if (version === 'latest') {
        throw new CliError(`Cannot remove "${ref}": say which version, as NAME@VERSION`, { exitCode: EXIT.usage })
      }
      await api.removeDataset(name, version)
      note(`${ref} is removed`)
    },
  )
}

interface Progress {
  readonly bytes: number
  readonly bytesTotal: number
  readonly rows: number
}

function showProgress({ bytes, bytesTotal, rows }: Progress): void {
  note(`${Math.round((100 * bytes) / Math.max(1, bytesTotal))} %  ${rows} rows`)
}

function failureOf({ detail }: { readonly detail: string }): CliError {
  return new CliError(detail, { exitCode: EXIT.usage })
}

/** The file as it is sent: read from the disk as the connection takes it. */
async function blobOf(path: string): Promise<Blob> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new CliError(`Cannot read ${path}: there is no such file`, { exitCode: EXIT.usage, cause })
  })
  if (!found.isFile()) throw new CliError(`Cannot read ${path}: it is not a file`, { exitCode: EXIT.usage })
  return openAsBlob(path)
}

function ingestOptions(options: Readonly<Record<string, unknown>>): object {
  const given = (name: string): object => (options[name] === undefined ? {} : { [name]: options[name] })
  const types = Object.fromEntries((options['type'] as string[]).map((text) => pair(text)))
  const split = { ...given('seed'), ...given('validation'), ...given('test') }
  const image = options['image'] as string | undefined
  return {
    ...given('target'),
    ...given('missing'),
    ...given('format'),
    ...given('header'),
    ...given('delimiter'),
    ...(Object.keys(types).length > 0 && { types }),
    ...(Object.keys(split).length > 0 && { split }),
    ...(image !== undefined && { image: sizeOfImage(image) }),
  }
}

function pair(text: string): [string, string] {
  const at = text.lastIndexOf('=')
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
  throw new CliError(`Cannot read "${text}": expected COLUMN=TYPE`, { exitCode: EXIT.usage })
}

function sizeOfImage(text: string): object {
  const [height, width, channels, more] = text.split('x').map(Number)
  if (height !== undefined && width !== undefined && more === undefined && ![height, width].some(Number.isNaN)) {
    return { height, width, ...(channels !== undefined && { channels }) }
  }
  throw new CliError(`Cannot read "${text}" as a size: expected 32x32 or 32x32x3`, { exitCode: EXIT.usage })
}

function share(text: string): number {
  const value = Number(text)
  if (value >= 0 && value < 1) return value
  throw new CliError(`Cannot use "${text}": expected a share from 0 to below 1, as in 0.2`, { exitCode: EXIT.usage })
}

function seed(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isInteger(value)) return value
  throw new CliError(`Cannot use "${text}": expected a whole number`, { exitCode: EXIT.usage })
}

const VALUES_SHOWN = 12

/** A picture has more numbers than anybody reads. */
function shortened(_: string, value: unknown): unknown {
  if (!Array.isArray(value) || value.length <= VALUES_SHOWN) return value
  return [...(value as unknown[]).slice(0, VALUES_SHOWN), `… of ${value.length}`]
}

function collect(text: string, before: readonly string[]): string[] {
  return [...before, text]
}

function show(datasets: readonly DatasetView[], json: boolean | undefined): void {
  if (json === true) return printJson(datasets)
  if (datasets.length === 0) return note('No datasets yet. Make one with "tensorfleet dataset add NAME FILE".')
  const rows = datasets.map(({ name, version, format, rows: count, sizeBytes, owner, createdAt }) => {
    return [name, String(version), format, String(count), sizeOf(sizeBytes), owner, ago(createdAt)]
  })
  print(table(['DATASET', 'VERSION', 'FORMAT', 'ROWS', 'SIZE', 'OWNER', 'AGE'], rows))
}

/** A version as a person reads it. */
function describe(detail: DatasetDetailView): string {
  const { name, version, columns, target, splits, split, skipped } = detail
  const counts = Object.entries(splits).map(([part, { count }]) => `${part} ${count}`)
  const dealt = split === null ? "the files' own split" : `split by seed ${split.seed}`
  const rows = columns.map((column, i) => {
    const statistics = splits.train.statistics[i]
    const number = (values: readonly number[] | undefined): string =>
      values?.length === 1 ? String(Number((values[0] ?? 0).toPrecision(5))) : '…'
    const { categories, dtype, shape } = column
    const type = `${dtype}${shape.length > 0 ? ` [${shape.join(', ')}]` : ''}`
    const what = categories === undefined ? type : `${categories.count} classes`
    const numbers =
      categories === undefined
        ? [statistics?.min, statistics?.max, statistics?.mean, statistics?.std].map(number)
        : ['', '', '', '']
    return [
      `${column.name}${column.name === target ? ' (target)' : ''}`,
      what,
      ...numbers,
      String(statistics?.missing ?? 0),
      balanceOf(categories?.names, statistics?.classes),
    ]
  })
  const head = `${name}@${version}  ${counts.join(', ')} (${dealt}${skipped > 0 ? `; ${skipped} rows left out` : ''})`
  return `${head}\n${table(['COLUMN', 'TYPE', 'MIN', 'MAX', 'MEAN', 'STD', 'MISSING', 'CLASSES'], rows)}`
}

function balanceOf(names: readonly string[] | undefined, classes: readonly number[] | undefined): string {
  if (classes === undefined) return ''
  const shown = classes.slice(0, 10).map((count, code) => `${names?.[code] ?? code} ${count}`)
  return `${shown.join(', ')}${classes.length > 10 ? ', …' : ''}`
}

function refOf(text: string): { readonly name: string; readonly version: string } {
  const [name = '', version = 'latest', more] = text.split('@')
  if (name !== '' && version !== '' && more === undefined) return { name, version }
  throw new CliError(`Cannot read "${text}" as a dataset: expected ${DATASET}`, { exitCode: EXIT.usage })
}

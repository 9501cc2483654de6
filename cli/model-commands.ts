/** The commands of the registry: see models and take them home, and say how their versions are used. */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Option } from 'commander'
import type { Command } from 'commander'
import type { ModelVersionView } from '../machines/views.ts'
import { onApi } from './api-command.ts'
import { downloadOutput, isBatchId } from './batches.ts'
import { MODEL, modelRef } from './model-ref.ts'
import { ago, fixed, note, percent, print, printJson, sizeOf, table } from './output.ts'

export function addModelCommands(program: Command): void {
  onApi(program.command('models').description('list registered models, newest first'), async (api, options) => {
    const models = await api.models()
    if (options.json === true) printJson(models)
    else if (models.length === 0) note('No models yet: a job registers one when it completes.')
    else print(table(['MODEL', 'VERSION', 'STAGE', 'ACCURACY', 'LOSS', 'SIZE', 'JOB', 'AGE'], models.map(modelRow)))
  })

  onApi<[string]>(
    program
      .command('download')
      .argument('<model>', `${MODEL}, or a batch job's id`)
      .option('-o, --out <folder>', 'where to write the files', '.')
      .addOption(
        new Option(
          '-f, --format <format>',
          'safetensors and topology, or a folder that tf.loadLayersModel or Keras of Python loads',
        )
          .choices(['safetensors', 'tfjs', 'keras'])
          .default('safetensors'),
      )
      .description("take a model home, or a batch job's output"),
    async (api, options, model) => {
      if (isBatchId(model)) {
        const path = await downloadOutput(api, model, { folder: options['out'] as string })
        if (options.json === true) printJson({ files: [path] })
        else print(path)
        return
      }
      const { name, version } = modelRef(model)
      const found = await api.model(name, version)
      const at = join(options['out'] as string, `${name}-v${found.version}`)
      const wanted = filesOf(options['format'] as string, at)
      const files = []
      for (const [file, path] of wanted) {
        const response = await api.download(name, String(found.version), file)
        await mkdir(dirname(path), { recursive: true })
        await writeFile(path, new Uint8Array(await response.arrayBuffer()))
        files.push(path)
      }
      if (options.json === true) printJson({ model: found, files })
      else print(files.join('\n'))
    },
  )

  const model = program.command('model').description('one model: its card, stages, aliases, versions compared')

  onApi<[string]>(
    model.command('card').argument('<model>', MODEL).description('print the model card, in Markdown'),
    async (api, options, ref) => {
      const { name, version } = modelRef(ref)
      if (options.json === true) printJson(await api.model(name, version))
      else print((await api.modelCard(name, version)).trimEnd())
    },
  )

  onApi<[string, string]>(
    model
      .command('stage')
      .argument('<model>', MODEL)
      .argument('<stage>', 'none, staging, production or archived')
      .option('--note <text>', 'why, for who reads it later')
      .description('move a version to another stage'),
    async (api, options, ref, stage) => {
      const { name, version } = modelRef(ref)
      const moved = await api.setStage(name, version, stage, options['note'] as string | undefined)
      if (options.json === true) printJson(moved)
      else print(`${moved.name}@${moved.version} is in stage ${moved.stage}`)
    },
  )

  onApi<[string, string | undefined]>(
    model
      .command('alias')
      .argument('<model>', `NAME to list its aliases; ${MODEL} to point one to it`)
      .argument('[alias]', 'a word such as champion')
      .option('--remove', 'remove the alias')
      .description('list, set or remove aliases'),
    async (api, options, ref, alias) => {
      const { name, version } = modelRef(ref)
      if (alias === undefined) {
        const aliases = await api.aliases(name)
        if (options.json === true) printJson(aliases)
        else if (aliases.length === 0) note(`${name} has no aliases.`)
        else
          print(
            table(
              ['ALIAS', 'VERSION'],
              aliases.map((row) => [row.alias, String(row.version ?? '–')]),
            ),
          )
        return
      }
      const changed =
        options['remove'] === true
          ? await api.removeAlias(name, alias)
          : await api.setAlias(name, alias, (await api.model(name, version)).version)
      if (options.json === true) printJson(changed)
      else if (changed.version === null) print(`${name} has no alias ${alias} any more`)
      else print(`${name}@${alias} is version ${changed.version}`)
    },
  )

  onApi<[string, string, string]>(
    model
      .command('compare')
      .argument('<name>', "the model's name")
      .argument('<left>', 'a version or an alias')
      .argument('<right>', 'a version or an alias')
      .description('what differs between two versions'),
    async (api, options, name, left, right) => {
      const comparison = await api.compareModels(name, left, right)
      if (options.json === true) return printJson(comparison)
      const { differences } = comparison
      if (differences.length === 0) return note('They were made alike and do equally well.')
      const shown = (value: unknown): string => (value === undefined ? '–' : cut(JSON.stringify(value)))
      const heads = [`@${comparison.left.version}`, `@${comparison.right.version}`] as const
      print(
        table(
          ['', ...heads],
          differences.map((row) => [row.path, shown(row.left), shown(row.right)]),
        ),
      )
    },
  )
}

const CELL_CHARACTERS_MAX = 48

/** What makes no line longer than people read; `--json` has the whole. */
function cut(text: string): string {
  return text.length > CELL_CHARACTERS_MAX ? `${text.slice(0, CELL_CHARACTERS_MAX - 1)}…` : text
}

/** Each file's address behind the version's, and where it goes. */
function filesOf(format: string, at: string): readonly (readonly [address: string, path: string])[] {
  const inFolder = FOLDERS[format]
  if (inFolder !== undefined) return inFolder.map((name) => [`${format}/${name}`, join(at, name)])
  return [
    ['download?file=weights', `${at}.safetensors`],
    ['download?file=topology', `${at}.json`],
  ]
}

const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  tfjs: ['model.json', 'weights.bin', 'predict.js', 'predict.d.ts'],
  keras: ['model.json', 'model.safetensors', 'load.py'],
}

function modelRow(model: ModelVersionView): readonly string[] {
  const { name, version, stage, evaluation, weights, job, createdAt } = model
  const size = sizeOf(weights.sizeBytes)
  return [
    name,
    String(version),
    stage,
    percent(evaluation?.accuracy),
    fixed(evaluation?.loss),
    size,
    job,
    ago(createdAt),
  ]
}

/**
 * A model card: what a version is, how it was made and how well it does, as a page of Markdown for people (after
 * Mitchell et al., "Model Cards for Model Reporting", 2019). Everything in it is taken from the registry; names that
 * users chose are escaped.
 */
import type { FeatureView, ModelAliasView, ModelVersionView } from '../machines/views.ts'

export function modelCard(model: ModelVersionView, aliases: readonly ModelAliasView[]): string {
  const { name, version, stage, spec, dataset, features, input, targetColumn, target, weights, topology } = model
  const pointing = aliases.filter((alias) => alias.version === version).map(({ alias }) => alias)
  const { train } = spec
  return [
    `# ${text(name)} version ${version}`,
    '',
    `Trained by job \`${model.job}\`${trialOf(model)} of ${text(model.owner)} on ${date(model.createdAt)}, with TensorFleet ${text(model.code)}.`,
    '',
    table([
      ['Stage', stage],
      ['Aliases', pointing.length === 0 ? 'none' : pointing.join(', ')],
      ...(model.parent === undefined
        ? []
        : [['Started from', `${text(model.parent.name)} version ${model.parent.version}`] as const]),
      ['Dataset', `${text(dataset.name)} version ${dataset.version}`],
      ...(model.fingerprint === undefined ? [] : [['Computed on', `\`${model.fingerprint}\``] as const]),
      ['Asked with', firstOf(features.map(featureOf), '; ')],
      ['Predicts', targetColumn === null ? 'what it is asked with' : text(targetColumn)],
      ['Input', `${input.dtype} [${input.shape.join(', ')}]`],
      ['Output', outputOf(target)],
    ]),
    '',
    '## How well it does',
    '',
    ...reached(model),
    '',
    '## How it was made',
    '',
    'These settings, the dataset and the seed fix the weights to the last bit on workers of one numerics fingerprint.',
    '',
    table(leavesOf({ ...train, preprocess: model.preprocess })),
    '',
    '## Files',
    '',
    table([
      ['Weights (safetensors)', `\`${weights.sha256}\`, ${weights.sizeBytes} bytes`],
      ['Topology (Keras JSON)', `\`${topology.sha256}\`, ${topology.sizeBytes} bytes`],
    ]),
    '',
    '## Stages',
    '',
    model.stages.length === 0
      ? 'It has been in no stage yet.'
      : model.stages
          .map(
            ({ stage: to, at, by, note }) =>
              `- ${date(at)}: ${to}, by ${text(by)}${note === undefined ? '' : `: ${text(note)}`}`,
          )
          .join('\n'),
    '',
  ].join('\n')
}

function trialOf({ sweep }: ModelVersionView): string {
  return sweep === undefined ? '' : ` (trial ${sweep.trial} of sweep \`${sweep.id}\`)`
}

function outputOf(target: ModelVersionView['target']): string {
  if (target.kind === 'value') return target.shape.length === 0 ? 'a number' : `values [${target.shape.join(', ')}]`
  return classesOf(target.classes, target.names)
}

/** A column as predictions are asked with it. */
function featureOf({ name, dtype, shape, categories, nullable }: FeatureView): string {
  const scalar = categories === undefined ? 'a number' : classesOf(categories.count, categories.names)
  const what = shape.length === 0 ? scalar : `${dtype} [${shape.join(', ')}]`
  return `${text(name)}: ${what}${nullable === true ? ' (or missing)' : ''}`
}

function classesOf(count: number, names: readonly string[] | undefined): string {
  return `${count} classes${names === undefined ? '' : `: ${firstOf(names.map(text), ', ')}`}`
}

const SHOWN_MAX = 50

function firstOf(items: readonly string[], separator: string): string {
  const more = items.length > SHOWN_MAX ? [`${items.length - SHOWN_MAX} more`] : []
  return [...items.slice(0, SHOWN_MAX), ...more].join(separator)
}

function reached({ evaluation, validation }: ModelVersionView): readonly string[] {
  const lines = (split: string, { examples, ...figures }: { readonly examples: number }): readonly string[] => [
    `On ${examples} ${split} examples:`,
    '',
    table(figuresOf(figures)),
  ]
  return [
    ...(evaluation === undefined ? ['It was not tested.'] : lines('test', evaluation)),
    ...(validation === undefined ? [] : ['', ...lines('validation', validation)]),
  ]
}

function figuresOf(evaluation: object): readonly (readonly [string, string])[] {
  return Object.entries(evaluation).flatMap(([key, value]) =>
    typeof value === 'number' ? [[key, String(Number(value.toPrecision(6)))] as const] : [],
  )
}

/** Every setting with its path: `optimizer.kind`. */
function leavesOf(value: object, path = ''): readonly (readonly [string, string])[] {
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
    const at = path === '' ? key : `${path}.${key}`
    if (typeof inner === 'object' && inner !== null) return leavesOf(inner, at)
    return inner === undefined ? [] : [[at, text(typeof inner === 'string' ? inner : JSON.stringify(inner))] as const]
  })
}

function table(rows: readonly (readonly [string, string])[]): string {
  return ['| | |', '|---|---|', ...rows.map(([name, value]) => `| ${name} | ${value} |`)].join('\n')
}

function date(at: number): string {
  return new Date(at).toISOString().slice(0, 16).replace('T', ' ') + ' UTC'
}

/** Text as text, whatever marks of Markdown or HTML are in it. */
function text(value: string): string {
  return value.replaceAll(/[\r\n]+/g, ' ').replaceAll(/[\\`*_{}[\]<>()#+!|~-]/g, String.raw`\$&`)
}

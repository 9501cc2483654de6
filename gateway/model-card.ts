/**
 * A model card: what a version is, how it was made and how well it does, as a page of Markdown for people (after
 * Mitchell et al., "Model Cards for Model Reporting", 2019). Everything in it is taken from the registry; names that
 * users chose are escaped.
 */
import type { ModelAliasView, ModelVersionView } from '../machines/views.ts'

export function modelCard(model: ModelVersionView, aliases: readonly ModelAliasView[]): string {
  const { name, version, stage, spec, dataset, input, target, weights, topology } = model
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
  if (target.kind === 'value') return `values [${target.shape.join(', ')}]`
  const names = target.names === undefined ? '' : `: ${target.names.map(text).join(', ')}`
  return `${target.classes} classes${names}`
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

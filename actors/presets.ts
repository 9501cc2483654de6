/**
 * Presets: from a dataset and a target column to a whole specification. Preprocessing follows from the columns, the
 * network and its training from what is to be predicted and from how much data there is: small tables get small
 * networks and many epochs, pictures by the ten thousand get convolutions, two replicas and few. Pure: the same dataset
 * and preset give the same specification.
 */
import type { Column, DatasetManifest, Problem } from '../kernels/mod.ts'
import type { PresetName, PresetSpec } from '../machines/preset-spec.ts'
import { problem } from './problem.ts'

type Layer = { readonly class_name: string; readonly config: Readonly<Record<string, unknown>> }
type Step = Readonly<Record<string, unknown>>

/** What the data is, as far as presets care. */
interface Data {
  readonly features: readonly Column[]
  readonly picture: readonly number[] | null
  readonly target: Column | null
  readonly classes: number | null
  readonly examples: number
  readonly hasValidation: boolean
  readonly missing: ReadonlySet<string>
}

/** A specification as a user would have written it, or what speaks against the preset here. */
export function expandPreset(
  spec: PresetSpec,
  manifest: DatasetManifest,
): { readonly spec: Readonly<Record<string, unknown>> } | { readonly problems: readonly Problem[] } {
  const { preset, dataset, train, ...rest } = spec
  const selection = preset === 'autoencoder' ? inputAlone(dataset, manifest) : dataset
  const data = dataOf(manifest, selection)
  // What the features are is known once the target is.
  const [wrongTarget] = checkTarget(selection, manifest, data)
  const problems = wrongTarget === undefined ? checkFit(preset, data) : [wrongTarget]
  if (problems.length > 0) return { problems }
  return {
    spec: {
      name: `${dataset.name}-${preset}`,
      ...rest,
      dataset: selection,
      preprocess: preprocessFor(data),
      model: { class_name: 'Sequential', config: { name: preset, layers: layersFor(preset, data) } },
      train: { ...trainFor(preset, data), ...train },
    },
  }
}

/** What an autoencoder gives back: the chosen columns, else all but the one that others predict. */
function inputAlone(selection: PresetSpec['dataset'], { columns, target }: DatasetManifest): PresetSpec['dataset'] {
  const predicted = selection.target === undefined ? target : selection.target
  const features = selection.features ?? columns.map(({ name }) => name).filter((name) => name !== predicted)
  return { ...selection, target: null, features }
}

function dataOf(manifest: DatasetManifest, { target, features }: PresetSpec['dataset']): Data {
  const { columns, splits } = manifest
  const targetName = target === undefined ? manifest.target : target
  const targetColumn = columns.find(({ name }) => name === targetName) ?? null
  const chosen = columns.filter((column) => column !== targetColumn && (features?.includes(column.name) ?? true))
  const [only] = chosen
  const isMissing = (column: Column): boolean =>
    Object.values(splits).some((split) => (split?.statistics[columns.indexOf(column)]?.missing ?? 0) > 0)
  return {
    features: chosen,
    picture: chosen.length === 1 && only?.shape.length === 3 ? only.shape : null,
    target: targetColumn,
    classes: targetColumn?.categories?.count ?? null,
    examples: splits.train.count,
    hasValidation: (splits.validation?.count ?? 0) > 0,
    missing: new Set(chosen.filter(isMissing).map(({ name }) => name)),
  }
}

function checkTarget(selection: PresetSpec['dataset'], manifest: DatasetManifest, { target }: Data): Problem[] {
  const name = selection.target === undefined ? manifest.target : selection.target
  if (selection.target === null || target !== null) return []
  const names = manifest.columns.map((column) => column.name).join(', ')
  return [problem('dataset.target', `the column to predict, one of ${names}`, name ?? 'nothing')]
}

function checkFit(preset: PresetName, { target, classes, picture }: Data): Problem[] {
  const found = preset
  if (preset === 'cnn' && (picture === null || Math.min(picture[0] ?? 0, picture[1] ?? 0) < 8)) {
    return [problem('preset', 'linear, logistic or mlp: the features are no pictures of 8 × 8 pixels or more', found)]
  }
  if (target === null) return []
  if (preset === 'linear' && classes !== null)
    return [problem('preset', `${picture === null ? 'logistic or mlp' : 'logistic, mlp or cnn'}: ${target.name} is a category`, found)] // prettier-ignore
  if (preset === 'logistic' && classes === null)
    return [problem('preset', `linear or mlp: ${target.name} is a number`, found)]
  return []
}

function preprocessFor({ features, target, classes, picture, missing }: Data): readonly Step[] {
  const names = (columns: readonly Column[]): readonly string[] => columns.map(({ name }) => name)
  if (picture !== null) return [{ op: 'scale', factor: 1 / 255, columns: names(features) }]
  const categories = names(features.filter(({ categories: its }) => its !== undefined))
  const numbers = names(features.filter(({ categories: its }) => its === undefined))
  const lacking = (columns: readonly string[]): readonly string[] => columns.filter((name) => missing.has(name))
  const steps: Step[] = []
  if (lacking(numbers).length > 0) steps.push({ op: 'impute', with: 'mean', columns: lacking(numbers) })
  if (lacking(categories).length > 0) steps.push({ op: 'impute', with: 'mode', columns: lacking(categories) })
  if (numbers.length > 0) steps.push({ op: 'standardise', columns: numbers })
  if (categories.length > 0) steps.push({ op: 'onehot', columns: categories })
  // A target of thousands would make every gradient as large; predictions are turned back.
  if (target !== null && classes === null) steps.push({ op: 'standardise', columns: [target.name] })
  return steps
}

function layersFor(preset: PresetName, data: Data): readonly Layer[] {
  const flat = data.picture === null ? [] : [layer('Flatten')]
  switch (preset) {
    case 'linear':
    case 'logistic':
      return [...flat, output(data)]
    case 'mlp':
      return [...flat, ...hidden(data), output(data)]
    case 'cnn':
      return [
        convolution(16),
        layer('MaxPooling2D', { pool_size: 2 }),
        convolution(32),
        layer('MaxPooling2D', { pool_size: 2 }),
        layer('Flatten'),
        dense(128),
        layer('Dropout', { rate: 0.3 }),
        output(data),
      ]
    case 'autoencoder':
      return autoencoder(data, flat)
  }
}

/** Widths by the number of examples: a network of thousands of weights learns 150 flowers by heart. */
function hidden({ examples }: Data): readonly Layer[] {
  if (examples < 2_000) return [dense(16, SMALL_PENALTY), dense(16, SMALL_PENALTY)]
  if (examples < 20_000) return [dense(64), dense(32)]
  return [dense(256), layer('Dropout', { rate: 0.2 }), dense(64)]
}

function autoencoder({ features, picture }: Data, flat: readonly Layer[]): readonly Layer[] {
  const width = features.reduce((sum, column) => sum + widthOf(column), 0)
  const code = Math.max(2, Math.min(32, Math.round(width / 4)))
  const middle = Math.max(code, Math.min(128, width * 2))
  const back = picture === null ? [] : [layer('Reshape', { target_shape: picture })]
  const activation = picture === null ? 'linear' : 'sigmoid'
  return [...flat, dense(middle), dense(code), dense(middle), layer('Dense', { units: width, activation }), ...back]
}

/** Numbers that a column becomes. */
function widthOf({ shape, categories }: Column): number {
  return categories?.count ?? shape.reduce((product, size) => product * size, 1)
}

function output({ target, classes }: Data): Layer {
  if (classes !== null) return layer('Dense', { units: classes, activation: 'softmax' })
  return layer('Dense', { units: target === null ? 1 : widthOf(target) })
}

/** Steps that make a good start for any of the networks, over as many epochs as that takes. */
const STEPS_MIN = 2_000

function trainFor(preset: PresetName, { classes, examples, hasValidation }: Data): Readonly<Record<string, unknown>> {
  const replicas = examples >= 20_000 ? 2 : 1
  const batchSize = examples < 1_000 ? 16 : examples < 20_000 ? 32 : 64
  const stepsPerEpoch = Math.max(1, Math.floor(examples / (batchSize * replicas)))
  const epochs = Math.min(300, Math.max(preset === 'cnn' ? 6 : 4, Math.ceil(STEPS_MIN / stepsPerEpoch)))
  const steps = epochs * stepsPerEpoch
  const learningRate = preset === 'linear' || preset === 'logistic' ? 0.03 : examples < 20_000 ? 0.003 : 0.002
  return {
    replicas,
    epochs,
    batchSize,
    seed: 1,
    loss: classes === null ? 'meanSquaredError' : 'sparseCategoricalCrossentropy',
    optimizer: { kind: 'adam', learningRate },
    schedule: { kind: 'cosine', warmupSteps: Math.min(100, Math.round(steps / 20)), finalFactor: 0.05 },
    strategy:
      replicas === 1
        ? { kind: 'local', roundSteps: Math.max(1, Math.ceil(steps / 10)) }
        : { kind: 'diloco', localSteps: 50, outer: { kind: 'average' } },
    ...(hasValidation && { validation: { everyRounds: 1 } }),
  }
}

function layer(className: string, config: Readonly<Record<string, unknown>> = {}): Layer {
  return { class_name: className, config }
}

/** Keeps a network that has few examples from learning them by heart. */
const SMALL_PENALTY = { kernel_regularizer: { class_name: 'L1L2', config: { l1: 0, l2: 0.003 } } }

function dense(units: number, more: Readonly<Record<string, unknown>> = {}): Layer {
  return layer('Dense', { units, activation: 'relu', kernel_initializer: 'he_normal', ...more })
}

function convolution(filters: number): Layer {
  return layer('Conv2D', {
    filters,
    kernel_size: 3,
    padding: 'same',
    activation: 'relu',
    kernel_initializer: 'he_normal',
  })
}

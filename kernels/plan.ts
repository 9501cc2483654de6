/**
 * From a parsed topology to a plan: every layer allowed and its fields checked, every shape known, every weight named.
 * Everything else works from the plan: the check of a spec, the initial weights, and the model that tfjs builds from
 * `buildable`. It is pure and needs no tfjs.
 *
 * Weights are named `layer/weight`, as in `conv2d/kernel`, and stand in the order of the layers.
 */
import type { FeatureSpec } from './data/column.ts'
import { KernelError } from './errors.ts'
import { commonFields, describe, problem, tupleOf } from './layer.ts'
import type { Config, Problem, Report, Shape, WeightSpec } from './layer.ts'
import { LAYERS } from './layers/all.ts'
import { ACTIVATION_ELEMENTS_MAX, EXAMPLE_ELEMENTS_MAX, PARAMETERS_MAX, RANK_MAX } from './limits.ts'
import { elementCount } from './safetensors.ts'
import { parseTopology } from './topology.ts'
import type { ModelTopology, ParsedLayer, ParsedModel } from './topology.ts'

export interface PlannedLayer extends ParsedLayer {
  /** Shapes of its inputs, and of what it gives. */
  inputShapes: Shape[]
  shape: Shape
  /** Named in full. */
  weights: WeightSpec[]
}

export interface ModelPlan {
  kind: ParsedModel['kind']
  name: string
  layers: PlannedLayer[]
  output: number
  inputShape: Shape
  outputShape: Shape
  /** All weights in the order of the layers. */
  weights: WeightSpec[]
  parameters: number
  outputPath: string
}

/** The plan of a model for rows of this kind, or everything that is wrong with it. */
export function planModel(
  model: unknown,
  input: FeatureSpec | undefined,
  path = 'model',
): { plan?: ModelPlan; problems: Problem[] } {
  const problems: Problem[] = []
  const parsed = parseTopology(model, path, problems)
  if (!parsed) return { problems }
  checkNames(parsed.layers, problems)
  const allowed = parsed.layers.map((layer) => checkLayer(layer, problems))
  const inputShape = resolveInput(parsed, input, problems)
  const layers: PlannedLayer[] = []
  // A layer whose shape is unknown makes those after it unknown too; their own fields are checked all the same.
  const shapes: (Shape | undefined)[] = []
  for (const [index, layer] of parsed.layers.entries()) {
    const planned = allowed[index] === true ? planLayer(layer, inputShape, shapes, problems) : undefined
    shapes.push(planned?.shape)
    if (planned) layers.push(planned)
  }
  const weights = layers.flatMap((layer) => layer.weights)
  const parameters = weights.reduce((sum, weight) => sum + elementCount(weight.shape), 0)
  if (parameters > PARAMETERS_MAX) problems.push(problem(path, `at most ${PARAMETERS_MAX} parameters`, parameters))
  const output = layers.find((layer) => layer.name === parsed.layers[parsed.output]?.name)
  if (problems.length > 0 || !inputShape || !output) return { problems }
  const { kind, name } = parsed
  return {
    plan: {
      kind,
      name,
      layers,
      output: parsed.output,
      inputShape,
      outputShape: output.shape,
      weights,
      parameters,
      outputPath: output.path,
    },
    problems,
  }
}

/** The plan of a model that was checked before; throws with all problems where it was not. */
export function requirePlan(model: ModelTopology, input: FeatureSpec): ModelPlan {
  const { plan, problems } = planModel(model, input)
  if (plan && problems.length === 0) return plan
  const sentences = problems.map(({ message }) => message).join('; ')
  throw new KernelError('model.invalid', `Cannot build the model: ${sentences}`, { problems })
}

function checkNames(layers: readonly ParsedLayer[], problems: Problem[]): void {
  const seen = new Set<string>()
  for (const layer of layers) {
    if (seen.has(layer.name))
      problems.push(problem(`${layer.path}.config.name`, 'a name that no other layer has', layer.name))
    seen.add(layer.name)
  }
}

function checkLayer(layer: ParsedLayer, problems: Problem[]): boolean {
  const rule = LAYERS.get(layer.className)
  if (!rule) {
    problems.push(
      problem(`${layer.path}.class_name`, `one of the layers ${[...LAYERS.keys()].join(', ')}`, layer.className),
    )
    return false
  }
  const before = problems.length
  const fields = { ...commonFields, ...rule.fields }
  for (const [name, field] of Object.entries(fields)) {
    const value = layer.config[name]
    const at = `${layer.path}.config.${name}`
    if (value === undefined) {
      if (field.required === true) problems.push(problem(at, field.check(undefined) ?? 'a value', undefined))
      continue
    }
    const expected = field.check(value)
    if (expected !== undefined) problems.push(problem(at, expected, value))
  }
  for (const name of Object.keys(layer.config)) {
    if (!Object.hasOwn(fields, name)) {
      const known = Object.keys(rule.fields).join(', ')
      problems.push(
        problem(`${layer.path}.config.${name}`, `a field of ${layer.className} (${known})`, layer.config[name]),
      )
    }
  }
  return problems.length === before
}

function planLayer(
  layer: ParsedLayer,
  inputShape: Shape | undefined,
  shapes: readonly (Shape | undefined)[],
  problems: Problem[],
): PlannedLayer | undefined {
  const rule = LAYERS.get(layer.className)
  const sources = layer.inputs.length === 0 ? [inputShape] : layer.inputs.map((index) => shapes[index])
  const inputs = sources.filter((shape) => shape !== undefined)
  if (!rule || inputs.length !== sources.length) return undefined
  const report: Report = {
    path: layer.path,
    add: (field, expected, found) => {
      problems.push(problem(field === '' ? layer.path : `${layer.path}.config.${field}`, expected, found))
    },
  }
  if (rule.inputs === 'one' && inputs.length !== 1) {
    report.add('', 'one input', `${inputs.length} inputs`)
    return undefined
  }
  const shape = rule.shape(inputs, layer.config, report)
  if (!shape) return undefined
  if (shape.length > RANK_MAX || elementCount(shape) > ACTIVATION_ELEMENTS_MAX || elementCount(shape) < 1) {
    report.add('', `an output of 1 to ${ACTIVATION_ELEMENTS_MAX} elements`, `[${shape.join(', ')}]`)
    return undefined
  }
  const trainable = layer.config['trainable'] !== false
  const weights = (rule.weights?.(inputs, layer.config) ?? []).map((weight) => ({
    ...weight,
    name: `${layer.name}/${weight.name}`,
    trainable: weight.trainable && trainable,
  }))
  return { ...layer, inputShapes: inputs, shape, weights }
}

/** What enters the model: as the topology says, open dimensions filled in from the dataset, both compared. */
function resolveInput(parsed: ParsedModel, input: FeatureSpec | undefined, problems: Problem[]): Shape | undefined {
  const stated = parsed.inputShape
  if (!stated && !input) {
    problems.push(problem(parsed.inputPath, 'a shape such as [null, 28, 28, 1]', undefined))
    return undefined
  }
  if (!stated || !input) {
    const shape = input?.shape ?? stated ?? []
    const open = shape.some((d) => d === null)
    if (open)
      problems.push(problem(parsed.inputPath, 'a shape without open dimensions, or a dataset that fills them', stated))
    return open ? undefined : (shape as Shape) // no null is left
  }
  const fits = stated.length === input.shape.length && stated.every((d, i) => d === null || d === input.shape[i])
  if (!fits) {
    const expected = `[null, ${input.shape.join(', ')}], the shape of the dataset's rows`
    problems.push(problem(parsed.inputPath, expected, `[null, ${stated.map((d) => describe(d)).join(', ')}]`))
    // Go on with what the model says: its own layers may have problems of their own.
    return stated.some((d) => d === null) ? undefined : (stated as Shape)
  }
  if (elementCount(input.shape) > EXAMPLE_ELEMENTS_MAX) {
    problems.push(
      problem(parsed.inputPath, `at most ${EXAMPLE_ELEMENTS_MAX} elements in a row`, elementCount(input.shape)),
    )
    return undefined
  }
  return input.shape
}

/** Fields that tfjs needs not see: our own initialisation and names replace them. */
const NOT_BUILT = new Set([
  'dtype',
  'batch_size',
  'input_dtype',
  'autocast',
  'seed',
  'batch_input_shape',
  'stateful',
  'use_cudnn',
  'synchronized',
])

/**
 * The topology that tfjs builds: only known fields, Keras 2's form, and every initializer `zeros`, because the weights
 * are set right after and drawing them first (or a QR for `orthogonal`) would be time for nothing.
 */
export function buildable(plan: ModelPlan): ModelTopology {
  const layers = plan.layers.map((layer) => ({
    class_name: builtAs(layer),
    config: buildableConfig(layer),
    name: layer.name,
  }))
  const batchShape = [null, ...plan.inputShape]
  if (plan.kind === 'Sequential') {
    const [first, ...rest] = layers
    if (!first) throw new KernelError('model.invalid', 'Cannot build the model: it has no layers')
    const start = { ...first, config: { ...first.config, batch_input_shape: batchShape } }
    return { class_name: 'Sequential', config: { name: plan.name, layers: [start, ...rest] } }
  }
  const names = new Set(plan.layers.map(({ name }) => name))
  let inputName = 'rows'
  while (names.has(inputName)) inputName += '_'
  const linked = layers.map((layer, index) => {
    const sources = plan.layers[index]?.inputs ?? []
    const from = sources.length === 0 ? [inputName] : sources.map((source) => plan.layers[source]?.name ?? inputName)
    return { ...layer, inbound_nodes: [from.map((name) => [name, 0, 0, {}])] }
  })
  const inputLayer = {
    class_name: 'InputLayer',
    name: inputName,
    config: { batch_input_shape: batchShape, dtype: 'float32', sparse: false, name: inputName },
    inbound_nodes: [],
  }
  return {
    class_name: 'Model',
    config: {
      name: plan.name,
      layers: [inputLayer, ...linked],
      input_layers: [[inputName, 0, 0]],
      output_layers: [[plan.layers[plan.output]?.name, 0, 0]],
    },
  }
}

/** tfjs refuses to flatten what is flat, Keras does not. */
function builtAs({ className, inputShapes }: PlannedLayer): string {
  return className === 'Flatten' && inputShapes[0]?.length === 1 ? 'Activation' : className
}

function buildableConfig(layer: PlannedLayer): Config {
  if (builtAs(layer) !== layer.className) return { name: layer.name, activation: 'linear' }
  const config: Config = {}
  for (const [key, value] of Object.entries(layer.config)) {
    if (NOT_BUILT.has(key) || value === null) continue
    config[key] = key.endsWith('_initializer') ? { class_name: 'Zeros', config: {} } : value
  }
  for (const weight of LAYERS.get(layer.className)?.weights?.([[1, 1, 1]], { ...layer.config }) ?? []) {
    config[weight.initializer] = { class_name: 'Zeros', config: {} }
  }
  if (layer.className === 'LeakyReLU' && config['negative_slope'] !== undefined) {
    config['alpha'] = config['negative_slope']
    delete config['negative_slope']
  }
  if ('unit_forget_bias' in config || layer.className === 'LSTM') config['unit_forget_bias'] = false
  // tfjs takes these in one form only, or has another default than Keras.
  if (layer.className === 'Reshape') config['target_shape'] = layer.shape
  if (layer.className === 'Softmax') config['axis'] = -1
  if (layer.className === 'UpSampling2D') config['size'] = tupleOf(config, 'size', 2, [2, 2])
  if (layer.className === 'GRU') config['reset_after'] = false
  return config
}

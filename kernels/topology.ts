/**
 * A model's topology, read: Keras-style JSON (what `model.toJSON()` of tfjs and `model.to_json()` of Keras 2 and 3
 * write, bare or wrapped as `modelTopology` or `model_config`) becomes a list of layers with the indices of their
 * inputs, in an order in which each comes after its inputs. Fields are brought to one spelling (snake_case) and one
 * form. Nothing is judged here beyond what is needed to read it; `plan.ts` judges layers and shapes.
 */
import { describe, problem } from './layer.ts'
import type { Config, Problem } from './layer.ts'
import { LAYERS_MAX } from './limits.ts'

/** Keras's JSON as it came: unchecked data. */
export type ModelTopology = Record<string, unknown>

export interface ParsedLayer {
  className: string
  name: string
  config: Config
  /** Where it stands in the JSON, for messages. */
  path: string
  /** Indices into the list of layers; empty for what reads the model's input itself. */
  inputs: number[]
}

export interface ParsedModel {
  kind: 'Sequential' | 'Functional'
  name: string
  layers: ParsedLayer[]
  /** Index of the layer whose output is the model's. */
  output: number
  /** Dimensions of an example as the topology states them, null where it leaves one open; undefined where it says nothing. */
  inputShape: (number | null)[] | undefined
  inputPath: string
}

export function parseTopology(model: unknown, path: string, problems: Problem[]): ParsedModel | undefined {
  const root = unwrap(model, path)
  if (!isRecord(root.value)) {
    problems.push(problem(root.path, 'a Keras-style topology {class_name, config}', model))
    return undefined
  }
  const { class_name: className, config } = root.value
  const at = `${root.path}.config`
  if (className === 'Sequential') return parseSequential(config, at, problems)
  if (className === 'Functional' || className === 'Model') return parseFunctional(config, at, problems)
  problems.push(problem(`${root.path}.class_name`, 'Sequential, Functional or Model', className))
  return undefined
}

function unwrap(model: unknown, path: string): { value: unknown; path: string } {
  let value = model
  let at = path
  // At most two wrappers: tfjs's model.json holds modelTopology, which may hold model_config.
  for (const wrapper of ['modelTopology', 'model_config']) {
    if (isRecord(value) && isRecord(value[wrapper])) {
      value = value[wrapper]
      at = `${at}.${wrapper}`
    }
  }
  return { value, path: at }
}

function parseSequential(config: unknown, path: string, problems: Problem[]): ParsedModel | undefined {
  const list = Array.isArray(config) ? config : isRecord(config) ? config['layers'] : undefined
  const listPath = Array.isArray(config) ? path : `${path}.layers`
  if (!isLayerList(list, listPath, problems)) return undefined
  const layers: ParsedLayer[] = []
  let inputShape: ParsedModel['inputShape']
  let inputPath = `${listPath}[0].config.batch_input_shape`
  for (const [i, raw] of list.entries()) {
    const layer = readLayer(raw, `${listPath}[${i}]`, i, problems)
    if (!layer) continue
    if (i === 0) {
      inputShape = statedShape(layer, problems)
      inputPath = `${layer.path}.config.batch_input_shape`
    }
    if (layer.className === 'InputLayer' && i === 0) continue
    layers.push({ ...layer, inputs: layers.length === 0 ? [] : [layers.length - 1] })
  }
  if (layers.length === 0) {
    problems.push(problem(listPath, 'at least one layer', 'none'))
    return undefined
  }
  const name = isRecord(config) && typeof config['name'] === 'string' ? config['name'] : 'sequential'
  return { kind: 'Sequential', name, layers, output: layers.length - 1, inputShape, inputPath }
}

function parseFunctional(config: unknown, path: string, problems: Problem[]): ParsedModel | undefined {
  if (!isRecord(config)) {
    problems.push(problem(path, 'an object with layers, input_layers and output_layers', config))
    return undefined
  }
  const list = config['layers']
  if (!isLayerList(list, `${path}.layers`, problems)) return undefined
  const before = problems.length
  const read = new Map<string, { layer: Omit<ParsedLayer, 'inputs'>; sources: string[] }>()
  for (const [i, raw] of list.entries()) {
    const layer = readLayer(raw, `${path}.layers[${i}]`, i, problems)
    if (!layer) continue
    const inbound = isRecord(raw) ? raw['inbound_nodes'] : undefined
    const sources =
      layer.className === 'InputLayer' ? [] : inboundNames(inbound, `${layer.path}.inbound_nodes`, problems)
    if (read.has(layer.name))
      problems.push(problem(`${layer.path}.config.name`, 'a name that no other layer has', layer.name))
    read.set(layer.name, { layer, sources })
  }
  const inputName = onlyName(config['input_layers'], `${path}.input_layers`, 'one input', problems)
  const outputName = onlyName(config['output_layers'], `${path}.output_layers`, 'one output', problems)
  if (problems.length > before || inputName === undefined || outputName === undefined) return undefined
  const input = read.get(inputName)
  if (input?.layer.className !== 'InputLayer') {
    problems.push(problem(`${path}.input_layers`, 'the name of an InputLayer', inputName))
    return undefined
  }
  const sorted = sortByInputs(read, inputName, path, problems)
  const output = sorted?.findIndex((layer) => layer.name === outputName) ?? -1
  if (!sorted) return undefined
  if (output < 0) {
    problems.push(problem(`${path}.output_layers`, 'the name of a layer', outputName))
    return undefined
  }
  const inputPath = `${input.layer.path}.config.batch_input_shape`
  const name = typeof config['name'] === 'string' ? config['name'] : 'model'
  return { kind: 'Functional', name, layers: sorted, output, inputShape: statedShape(input.layer, problems), inputPath }
}

/** Orders layers after their inputs (Kahn); the input layer itself is dropped, as its readers have no inputs then. */
function sortByInputs(
  read: Map<string, { layer: Omit<ParsedLayer, 'inputs'>; sources: string[] }>,
  inputName: string,
  path: string,
  problems: Problem[],
): ParsedLayer[] | undefined {
  const before = problems.length
  for (const { layer, sources } of read.values()) {
    for (const source of sources) {
      if (!read.has(source))
        problems.push(problem(`${layer.path}.inbound_nodes`, 'names of layers of this model', source))
    }
    if (layer.className === 'InputLayer' && layer.name !== inputName) {
      problems.push(problem(layer.path, 'one input', `a second InputLayer ${layer.name}`))
    }
    // Mixing the model's input with other tensors in one layer would need the input as a node of its own.
    if (sources.length > 1 && sources.includes(inputName)) {
      problems.push(
        problem(
          `${layer.path}.inbound_nodes`,
          'a merge of layers (put a linear Activation after the input)',
          inputName,
        ),
      )
    }
  }
  if (problems.length > before) return undefined
  const placed = new Map<string, number>([[inputName, -1]])
  const sorted: ParsedLayer[] = []
  let waiting = [...read.values()].filter(({ layer }) => layer.name !== inputName)
  while (waiting.length > 0) {
    const ready = waiting.filter(({ sources }) => sources.every((source) => placed.has(source)))
    if (ready.length === 0) {
      problems.push(
        problem(`${path}.layers`, 'layers without a cycle', waiting.map(({ layer }) => layer.name).join(', ')),
      )
      return undefined
    }
    for (const { layer, sources } of ready) {
      placed.set(layer.name, sorted.length)
      sorted.push({
        ...layer,
        inputs: sources.filter((source) => source !== inputName).map((source) => placed.get(source) ?? -1),
      })
    }
    waiting = waiting.filter(({ layer }) => !placed.has(layer.name))
  }
  return sorted
}

function isLayerList(list: unknown, path: string, problems: Problem[]): list is unknown[] {
  if (Array.isArray(list) && list.length > 0 && list.length <= LAYERS_MAX) return true
  problems.push(
    problem(path, `a list of 1 to ${LAYERS_MAX} layers`, Array.isArray(list) ? `${list.length} layers` : list),
  )
  return false
}

function readLayer(
  raw: unknown,
  path: string,
  index: number,
  problems: Problem[],
): Omit<ParsedLayer, 'inputs'> | undefined {
  if (
    !isRecord(raw) ||
    typeof raw['class_name'] !== 'string' ||
    !(raw['config'] === undefined || isRecord(raw['config']))
  ) {
    problems.push(problem(path, 'a layer {class_name, config}', raw))
    return undefined
  }
  const className = raw['class_name']
  const config = canonicalConfig(raw['config'] ?? {})
  const stated = config['name'] ?? raw['name']
  const name = typeof stated === 'string' && stated !== '' ? stated : `${toSnake(className)}_${index}`
  return { className, name, config: { ...config, name }, path }
}

/** One spelling for every writer: snake_case names, and Keras 3's renamed fields under their older names. */
function canonicalConfig(raw: Record<string, unknown>): Config {
  const config: Config = {}
  for (const [key, value] of Object.entries(raw)) config[toSnake(key)] = value
  const batchShape =
    config['batch_shape'] ??
    (Array.isArray(config['input_shape']) ? [null, ...(config['input_shape'] as unknown[])] : undefined)
  if (batchShape !== undefined) config['batch_input_shape'] ??= batchShape
  delete config['batch_shape']
  delete config['input_shape']
  return config
}

function statedShape(layer: Omit<ParsedLayer, 'inputs'>, problems: Problem[]): (number | null)[] | undefined {
  const shape = layer.config['batch_input_shape']
  if (shape === undefined || shape === null) return undefined
  const fits =
    Array.isArray(shape) &&
    shape.length >= 1 &&
    shape.slice(1).every((d) => d === null || (Number.isSafeInteger(d) && Number(d) > 0))
  if (fits) return shape.slice(1) as (number | null)[] // checked in the line above
  problems.push(problem(`${layer.path}.config.batch_input_shape`, 'a shape such as [null, 28, 28, 1]', shape))
  return undefined
}

/** Layer names of the only node: Keras 2's `[[["name", 0, 0, {}]]]` or Keras 3's `[{args: [{config: {keras_history}}]}]`. */
function inboundNames(inbound: unknown, path: string, problems: Problem[]): string[] {
  const node: unknown = Array.isArray(inbound) && inbound.length === 1 ? inbound[0] : undefined
  const names: string[] = []
  const collect = (value: unknown): void => {
    if (Array.isArray(value)) {
      if (typeof value[0] === 'string' && value.length >= 3) names.push(value[0])
      else value.forEach(collect)
    } else if (isRecord(value)) {
      const config = value['config']
      const history = isRecord(config) ? config['keras_history'] : undefined
      if (Array.isArray(history) && typeof history[0] === 'string') names.push(history[0])
      else if (Array.isArray(value['args'])) collect(value['args'])
    }
  }
  collect(node)
  if (names.length === 0) problems.push(problem(path, 'one node that names its inputs (a layer is used once)', inbound))
  return names
}

/** `["name", 0, 0]` or `[["name", 0, 0]]`. */
function onlyName(value: unknown, path: string, expected: string, problems: Problem[]): string | undefined {
  const entry: unknown = Array.isArray(value) && value.length === 1 && Array.isArray(value[0]) ? value[0] : value
  if (Array.isArray(entry) && typeof entry[0] === 'string' && entry.every((e) => !Array.isArray(e))) return entry[0]
  problems.push(problem(path, expected, describe(value)))
  return undefined
}

export function toSnake(name: string): string {
  return name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll(/([A-Z]+)([A-Z][a-z])/g, '$1_$2')
    .toLowerCase()
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

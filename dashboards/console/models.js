/**
 * Models on the page: their list, and of the version that is chosen (`#/models/NAME@VERSION`) how well it does and where
 * it comes from. It is asked for with the lists.
 */
import { request } from './api.js'
import { ago, bytes, loss, reached } from './format.js'
import { resultsOf } from './results.js'
import { h, refill, Table } from './views.js'

export class ModelsCard {
  #table = modelsTable()
  #title = h('h3', { id: 'model-title' })
  #origin = h('p', { class: 'origin' })
  #results = h('div', { class: 'results' })
  #models = []
  #chosen = null

  constructor(element) {
    element.replaceChildren(this.#title, this.#origin, this.#results, this.#table.element)
  }

  /** How many there are, as far as they are listed. */
  get count() {
    return this.#models.length
  }

  async refresh() {
    const chosen = chosenModel()
    const [{ items }, model] = await Promise.all([
      request('/v1/models?limit=25'),
      chosen === null ? null : request(versionPath(chosen)).catch(() => null), // there is none of that name
    ])
    this.#models = items
    this.#chosen = model
    this.draw()
  }

  draw() {
    const chosen = chosenModel()
    this.#table.update(this.#models, chosen === null ? undefined : keyOf(chosen))
    const model =
      chosen !== null && this.#chosen !== null && keyOf(this.#chosen) === keyOf(chosen) ? this.#chosen : null
    for (const part of [this.#title, this.#origin, this.#results]) part.hidden = model === null
    if (model === null) return
    refill(this.#title, `${model.name} version ${model.version}`)
    refill(this.#origin, originOf(model))
    refill(this.#results, resultsOf(model))
  }
}

function keyOf({ name, version }) {
  return `${name}@${version}`
}

function versionPath({ name, version }) {
  return `/v1/models/${encodeURIComponent(name)}/versions/${version}`
}

function chosenModel() {
  const [, name, version] = /^#\/models\/(.+)@(\d+)$/.exec(location.hash) ?? []
  return name === undefined ? null : { name: decodeURIComponent(name), version: Number(version) }
}

function originOf({ stage, dataset, code, parent, fingerprint }) {
  return [
    `stage ${stage}`,
    `trained on ${dataset.name} version ${dataset.version}`,
    ...(parent === undefined ? [] : [`went on from ${keyOf(parent)}`]),
    `TensorFleet ${code}`,
    ...(fingerprint === undefined ? [] : [`computed on ${fingerprint}`]),
  ].join(' · ')
}

function modelsTable() {
  return new Table({
    caption: 'Models, newest first',
    keyOf,
    empty: ['No models yet. The first job that completes registers one.'],
    columns: [
      {
        title: 'Model',
        cell: (model) =>
          h(
            'span',
            { class: 'name' },
            h('a', { href: `#/models/${encodeURIComponent(model.name)}@${model.version}` }, model.name),
            h('small', {}, `version ${model.version}`),
          ),
      },
      { title: 'Reached', kind: 'number', cell: (model) => reached(model.evaluation) },
      { title: 'Loss', kind: 'number wide', cell: (model) => loss(model.evaluation?.loss) },
      { title: 'Dataset', kind: 'wide', cell: (model) => `${model.dataset.name} v${model.dataset.version}` },
      { title: 'Job', kind: 'wide', cell: (model) => h('a', { href: `#/jobs/${model.job}` }, model.job.slice(-6)) },
      { title: 'Made', kind: 'number wide', cell: (model) => ago(Date.now() - model.createdAt) },
      {
        title: 'Download',
        cell: (model) => h('span', { class: 'downloads' }, download(model, 'weights'), download(model, 'topology')),
      },
    ],
  })
}

function download(model, file) {
  const path = `${versionPath(model)}/download?file=${file}`
  return h('a', { href: path, title: `${file}, ${bytes(model[file].sizeBytes)}`, download: true }, file)
}

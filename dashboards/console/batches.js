/**
 * Batch jobs on the page: their list with how far each is, buttons that pause, resume and cancel them, and what they
 * gave. The card shows itself when there is a batch job.
 */
import { request } from './api.js'
import { bytes, count, duration, loss, percent } from './format.js'
import { ENDED, h, pill, progressBar, refill, Table } from './views.js'

const PAUSABLE = new Set(['waiting', 'preparing', 'queued', 'running'])

export class BatchesCard {
  #element
  #role
  #table
  #error = h('p', { class: 'error', role: 'alert' })

  constructor(element) {
    this.#element = element
    this.#table = batchesTable(
      (verb, id) => void this.#steer(verb, id),
      (job, verb) => this.#may(job, verb),
    )
    element.replaceChildren(h('h2', { id: 'batches-title' }, 'Batch jobs'), this.#error, this.#table.element)
  }

  /** Whose page it is. */
  set role(role) {
    this.#role = role
  }

  async refresh() {
    const { items } = await request('/v1/batches?limit=10')
    this.#element.hidden = items.length === 0
    this.#table.update(items)
  }

  #may({ state }, verb) {
    if (this.#role === 'viewer' || ENDED.has(state)) return false
    if (verb === 'pause') return PAUSABLE.has(state)
    return verb === 'resume' ? state === 'paused' : state !== 'cancelling'
  }

  async #steer(verb, id) {
    if (verb === 'cancel' && !confirm('Cancel this batch job?')) return
    try {
      await request(`/v1/batches/${encodeURIComponent(id)}/${verb}`, { method: 'POST' })
      refill(this.#error, '')
      await this.refresh()
    } catch (error) {
      refill(this.#error, error.message)
    }
  }
}

function batchesTable(steer, may) {
  return new Table({
    caption: 'Batch jobs, newest first',
    keyOf: ({ id }) => id,
    empty: [],
    columns: [
      {
        title: 'Batch job',
        cell: ({ id, name, owner, kind }) =>
          h('span', { class: 'name' }, name, h('small', { title: id }, `${kind} · ${owner} · ${id.slice(-6)}`)),
      },
      { title: 'State', cell: ({ state, error }) => h('span', { title: error?.message }, pill(state)) },
      { title: 'Progress', kind: 'wide', cell: ({ state, progress }) => progressBar({ state, progress: { step: progress.rows, steps: progress.rowsTotal } }) }, // prettier-ignore
      {
        title: 'Rows',
        kind: 'number wide',
        cell: ({ progress }) => `${count(progress.rows)} of ${count(progress.rowsTotal)}`,
      },
      { title: 'Time', kind: 'number wide', cell: ({ createdAt, endedAt }) => duration((endedAt ?? Date.now()) - createdAt) }, // prettier-ignore
      { title: 'Result', cell: resultOf },
      {
        title: 'Steer',
        cell: (job) =>
          h(
            'span',
            { class: 'downloads' },
            ...['pause', 'resume', 'cancel'].map((verb) =>
              may(job, verb)
                ? h('button', { type: 'button', class: 'quiet', onclick: () => steer(verb, job.id) }, wordOf(verb))
                : null,
            ),
          ),
      },
    ],
  })
}

function wordOf(verb) {
  return verb.charAt(0).toUpperCase() + verb.slice(1)
}

function resultOf({ id, output, evaluation }) {
  if (output !== undefined) {
    const path = `/v1/batches/${encodeURIComponent(id)}/output`
    return h('a', { href: path, title: bytes(output.sizeBytes), download: true }, output.format)
  }
  if (evaluation === undefined) return '–'
  return evaluation.accuracy === undefined ? `loss ${loss(evaluation.loss)}` : percent(evaluation.accuracy)
}

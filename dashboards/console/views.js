/**
 * Parts of the page. Everything that comes from the API goes in as text, never as markup. Tables keep their rows by
 * key and change only what changed, so that focus, selection and scroll survive each update.
 */
import { count, duration, loss, reached } from './format.js'

export const ENDED = new Set(['completed', 'failed', 'cancelled', 'stopped'])
export const PAUSABLE = new Set(['waiting', 'validating', 'preparing', 'queued', 'training', 'evaluating'])

/** An element: `h('p', { class: 'x' }, 'text', child)`. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value)
    else if (value === true) element.setAttribute(key, '')
    else if (value !== false && value !== undefined) element.setAttribute(key, String(value))
  }
  element.append(...children.filter((child) => child !== null && child !== undefined))
  return element
}

export function pill(state) {
  return h('span', { class: `pill ${state}` }, state)
}

export function progressBar(job) {
  const { step, steps } = job.progress
  const share = job.state === 'completed' ? 1 : steps === 0 ? 0 : step / steps
  const bar = h('progress', {
    max: 1,
    value: share,
    class: job.state,
    'aria-label': `${Math.round(share * 100)} % done`,
  })
  return bar
}

/** A table that is kept up to date: `columns` are `{title, class?, cell: (item) => Node | string}`. */
export class Table {
  #columns
  #keyOf
  #onRow
  #rows = new Map()
  #body = h('tbody')
  #empty
  element

  constructor({ columns, keyOf, empty, caption, onRow }) {
    this.#columns = columns
    this.#keyOf = keyOf
    this.#onRow = onRow
    const head = h('tr', {}, ...columns.map(({ title, kind }) => h('th', { scope: 'col', class: kind }, title)))
    const table = h('table', {}, h('caption', { class: 'hidden' }, caption), h('thead', {}, head), this.#body)
    this.#empty = h('p', { class: 'empty' })
    this.#empty.append(...empty)
    this.element = h('div', { class: 'table' }, table, this.#empty)
  }

  update(items, selected) {
    const keys = new Set(items.map(this.#keyOf))
    for (const [key, { row }] of this.#rows) {
      if (keys.has(key)) continue
      row.remove()
      this.#rows.delete(key)
    }
    for (const [i, item] of items.entries()) {
      const key = this.#keyOf(item)
      const known = this.#rows.get(key) ?? this.#create(key)
      if (this.#body.children[i] !== known.row) this.#body.insertBefore(known.row, this.#body.children[i] ?? null)
      known.row.classList.toggle('selected', key === selected)
      for (const [j, { cell }] of this.#columns.entries()) refill(known.cells[j], cell(item))
    }
    this.#empty.hidden = items.length > 0
    this.element.firstChild.hidden = items.length === 0
  }

  #create(key) {
    const cells = this.#columns.map(({ kind }) => h('td', { class: kind }))
    const row = h('tr', this.#onRow === undefined ? {} : { onclick: () => this.#onRow(key) }, ...cells)
    const known = { row, cells }
    this.#rows.set(key, known)
    return known
  }
}

/** Replaces the content only where it differs. */
export function refill(element, content) {
  const next = content instanceof Node ? content : document.createTextNode(content)
  const [present] = element.childNodes
  if (present !== undefined && element.childNodes.length === 1 && present.isEqualNode(next)) return
  element.replaceChildren(next)
}

export function jobsTable(onRow) {
  return new Table({
    caption: 'Jobs, newest first',
    keyOf: ({ id }) => id,
    onRow,
    empty: ['No jobs yet. Submit one with ', h('code', {}, 'npx tensorfleet submit examples/mnist.yaml'), '.'],
    columns: [
      {
        title: 'Job',
        cell: (job) =>
          h(
            'span',
            { class: 'name' },
            h('a', { href: `#/jobs/${job.id}` }, job.name),
            h('small', {}, `${job.owner} · ${job.id.slice(-6)}`),
          ),
      },
      { title: 'State', cell: (job) => pill(job.state) },
      { title: 'Progress', kind: 'wide', cell: progressBar },
      { title: 'Loss', kind: 'number wide', cell: (job) => loss((job.evaluation ?? job.metrics)?.loss) },
      { title: 'Reached', kind: 'number', cell: (job) => reached(job.evaluation ?? job.metrics) },
      { title: 'Time', kind: 'number wide', cell: (job) => duration((job.endedAt ?? Date.now()) - job.createdAt) },
    ],
  })
}

export function workersTable() {
  return new Table({
    caption: 'Workers',
    keyOf: ({ id }) => id,
    empty: ['No workers. Start some with ', h('code', {}, 'npx tensorfleet up'), '.'],
    columns: [
      {
        title: 'Worker',
        cell: (worker) =>
          h(
            'span',
            { class: 'name' },
            h('span', { title: worker.id }, worker.id),
            h('small', {}, `${worker.host} · pid ${worker.pid}`),
          ),
      },
      { title: 'State', cell: (worker) => pill(worker.state) },
      { title: 'Slots', kind: 'number', cell: (worker) => `${worker.busy} of ${worker.slots}` },
      { title: 'Back end', kind: 'wide', cell: (worker) => worker.backend },
    ],
  })
}

/** What stands beside the charts: `[label, value]` pairs. */
export function factsOf(job, { examplesPerS, leftMs }) {
  const { train, dataset } = job.spec
  const { round, rounds, step, steps } = job.progress
  const running = !ENDED.has(job.state)
  const facts = [
    ...(job.sweep?.stoppedAt === undefined ? [] : [['Stopped', `by its sweep at rung ${job.sweep.stoppedAt}`]]),
    ['Round', rounds === 0 ? '–' : `${round} of ${rounds}`],
    ['Step', steps === 0 ? '–' : `${count(step)} of ${count(steps)}`],
    running
      ? ['Time left', leftMs === null ? '–' : `about ${duration(leftMs)}`]
      : ['Took', duration(job.endedAt - job.createdAt)],
    ...(running ? [['Speed', examplesPerS === null ? '–' : `${count(examplesPerS)} examples/s`]] : []),
    ...(job.evaluation === undefined
      ? []
      : [['Test', `${reached(job.evaluation)} on ${count(job.evaluation.examples)} examples`]]),
    ['Dataset', dataset.version === undefined ? dataset.name : `${dataset.name} v${dataset.version}`],
    ['Replicas', replicasText(train.replicas, Object.keys(job.workers).length)],
    ...(job.model === undefined ? [] : [['Model', `${job.model.name} version ${job.model.version}`]]),
  ]
  return running ? facts : facts.filter(([, value]) => value !== '–')
}

function replicasText(replicas, workers) {
  if (workers === 0) return String(replicas)
  return `${replicas}, on ${workers === 1 ? '1 worker' : `${workers} workers`}`
}

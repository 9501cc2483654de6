/**
 * Sweeps on the page: their list, and the leaderboard of the one that is chosen (`#/sweeps/ID`), which is asked for with
 * the lists. The card shows itself when there is a sweep.
 */
import { request } from './api.js'
import { count, duration, loss, percent } from './format.js'
import { h, pill, progressBar, refill, Table } from './views.js'

const TRIALS_SHOWN = 12
const ENDED = ['completed', 'failed', 'cancelled']

export class SweepsCard {
  #element
  #table = sweepsTable((id) => (location.hash = `#/sweeps/${id}`))
  #title = h('h3', { id: 'sweep-title' })
  #error = h('p', { class: 'error', role: 'alert' })
  #board = h('div', { class: 'board' })
  #leaderboard = null
  /** Which parameters the present leaderboard has as columns. */
  #columns = ''
  #sweeps = []
  #chosen = null

  constructor(element) {
    this.#element = element
    element.replaceChildren(h('h2', { id: 'sweeps-title' }, 'Sweeps'), this.#table.element, this.#title, this.#error, this.#board) // prettier-ignore
  }

  async refresh() {
    const id = chosenId()
    const [list, chosen] = await Promise.all([
      request('/v1/sweeps?limit=10'),
      id === null ? null : request(`/v1/sweeps/${encodeURIComponent(id)}`).catch(() => null), // nobody's, or gone
    ])
    this.#sweeps = list.items
    this.#chosen = chosen
    this.draw()
  }

  draw() {
    this.#element.hidden = this.#sweeps.length === 0
    this.#table.update(this.#sweeps, chosenId() ?? undefined)
    const sweep = this.#chosen?.id === chosenId() ? this.#chosen : null
    this.#title.hidden = sweep === null
    this.#board.hidden = sweep === null
    refill(this.#error, sweep?.error?.message ?? '')
    if (sweep === null) return
    refill(this.#title, `${sweep.name}: the best of ${count(sweep.progress.started)} trials, by ${sweep.spec.metric}`)
    const columns = JSON.stringify([Object.keys(sweep.spec.parameters), sweep.spec.metric])
    if (columns !== this.#columns) {
      this.#columns = columns
      this.#leaderboard = leaderboardTable(sweep.spec)
      this.#board.replaceChildren(this.#leaderboard.element)
    }
    this.#leaderboard.update(sweep.leaderboard.slice(0, TRIALS_SHOWN), sweep.best?.trial)
  }
}

function chosenId() {
  const found = /^#\/sweeps\/(.+)$/.exec(location.hash)?.[1]
  return found === undefined ? null : decodeURIComponent(found)
}

function sweepsTable(onRow) {
  return new Table({
    caption: 'Sweeps, newest first',
    keyOf: ({ id }) => id,
    onRow,
    empty: [],
    columns: [
      {
        title: 'Sweep',
        cell: ({ id, name, owner }) =>
          h(
            'span',
            { class: 'name' },
            h('a', { href: `#/sweeps/${id}` }, name),
            h('small', {}, `${owner} · ${id.slice(-6)}`),
          ),
      },
      { title: 'State', cell: ({ state }) => pill(state) },
      { title: 'Progress', kind: 'wide', cell: (sweep) => progressBar({ state: sweep.state, progress: { step: sweep.progress.steps, steps: sweep.progress.stepsPlanned } }) }, // prettier-ignore
      {
        title: 'Trials',
        kind: 'number',
        cell: (sweep) => `${count(endedOf(sweep))} of ${count(sweep.progress.trials)}`,
      },
      {
        title: 'Steps',
        kind: 'number wide',
        cell: ({ progress }) => `${count(progress.steps)} of ${count(progress.stepsPlanned)}`,
      },
      { title: 'Model', kind: 'wide', cell: ({ model }) => (model === undefined ? '–' : `${model.name} v${model.version}`) }, // prettier-ignore
      { title: 'Time', kind: 'number wide', cell: ({ createdAt, endedAt }) => duration((endedAt ?? Date.now()) - createdAt) }, // prettier-ignore
    ],
  })
}

function endedOf({ progress, state }) {
  const { completed, stopped, failed, cancelled, trials } = progress
  return ENDED.includes(state) ? trials : completed + stopped + failed + cancelled
}

function leaderboardTable({ parameters, metric }) {
  const value = metric === 'accuracy' ? percent : loss
  return new Table({
    caption: 'Trials, the best one first',
    keyOf: ({ trial }) => trial,
    empty: ['No trial has started yet.'],
    columns: [
      { title: 'Trial', cell: ({ trial, job }) => h('a', { href: `#/jobs/${job}` }, String(trial)) },
      { title: 'State', cell: ({ state }) => pill(state) },
      { title: metric, kind: 'number', cell: (trial) => value(trial.value) },
      { title: 'Round', kind: 'number wide', cell: ({ round }) => count(round) },
      ...Object.keys(parameters).map((path) => ({
        title: path.split('.').at(-1),
        kind: 'number',
        cell: (trial) => h('span', { title: path }, textOf(trial.parameters[path])),
      })),
    ],
  })
}

function textOf(value) {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

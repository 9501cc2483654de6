/**
 * The page: signs in, keeps the lists up to date by asking, and follows one job live by its events. A browser allows
 * few connections to one host, so only the job that is looked at has a stream.
 */
import { ApiError, followJob, request, signIn, signOut } from './api.js'
import { BatchesCard } from './batches.js'
import { LineChart } from './chart.js'
import { count, loss, percent } from './format.js'
import { ModelsCard } from './models.js'
import { resultsOf } from './results.js'
import { SweepsCard } from './sweeps.js'
import { ENDED, factsOf, h, jobsTable, PAUSABLE, pill, progressBar, refill, workersTable } from './views.js'

const POLL_MS = 2_000
const LOG_LINES_SHOWN = 200
const POINTS_MAX = 50_000
/** Speed and time left are told from the newest lines of so long. */
const RECENT_MS = 30_000

const at = (id) => document.getElementById(id)
const tables = {
  jobs: jobsTable((id) => (location.hash = `#/jobs/${id}`)),
  workers: workersTable(),
}

const batches = new BatchesCard(at('batches'))
const sweeps = new SweepsCard(at('sweeps'))
const models = new ModelsCard(at('models'))

/** The job that is looked at: its view, what it has told, and its part of the page. */
class JobPanel {
  #element = at('job')
  #charts = [
    new LineChart({
      title: 'Loss',
      kind: 'loss',
      floor: 0,
      format: loss,
      tick: (value) => String(Number(value.toPrecision(3))),
    }),
    new LineChart({
      title: 'Accuracy',
      kind: 'accuracy',
      floor: 0,
      ceiling: 1,
      format: percent,
      tick: (value) => `${Number((value * 100).toFixed(2))} %`,
    }),
  ]
  #title = h('h1', { id: 'job-title' })
  #state = h('span', { class: 'state', role: 'status' })
  #progress = h('div', { class: 'progress' })
  #facts = h('dl', { class: 'facts' })
  #results = h('div', { class: 'results' })
  #body
  #error = h('p', { class: 'error', role: 'alert' })
  #cancel = h('button', { type: 'button', class: 'danger', onclick: () => void this.#askToCancel() }, 'Cancel job')
  #pause = h('button', { type: 'button', onclick: () => void this.#steer('pause') }, 'Pause')
  #resume = h('button', { type: 'button', onclick: () => void this.#steer('resume') }, 'Resume')
  #retry = h('button', { type: 'button', onclick: () => void this.#steer('retry') }, 'Try again')
  #log = h('ol', { class: 'log', tabindex: '0', 'aria-label': 'Log' })
  #logPart = h('details', {}, h('summary', {}, 'Log'), this.#log)
  #role
  #id = null
  #view = null
  #points = []
  #recent = []
  #unfollow = () => {}
  #drawing = false
  #onView

  constructor(role, onView) {
    this.#role = role
    this.#onView = onView
    const plots = h('div', { class: 'plots' }, ...this.#charts.map(({ element }) => element))
    const head = h(
      'div',
      { class: 'head' },
      this.#title,
      this.#state,
      this.#pause,
      this.#resume,
      this.#retry,
      this.#cancel,
    )
    this.#body = h('div', { class: 'body' }, plots, this.#facts)
    this.#element.replaceChildren(head, this.#progress, this.#error, this.#body, this.#results, this.#logPart)
  }

  get id() {
    return this.#id ?? undefined
  }

  show(id) {
    if (id === this.#id) return
    this.#unfollow()
    this.#id = id
    this.#view = null
    this.#element.hidden = true
    this.#restart()
    const mine = (listener) => (data) => this.#id === id && listener(data)
    this.#unfollow = followJob(id, {
      onState: mine((view) => this.#take(view)),
      onMetrics: mine((line) => this.#plot(line)),
      onLog: mine((line) => this.#write(line)),
      onRestart: mine(() => this.#restart()),
      onLink: mine((ok) => linkTo('events', ok || ENDED.has(this.#view?.state))),
    })
  }

  #restart() {
    this.#points = []
    this.#recent = []
    this.#log.replaceChildren()
    this.#logPart.hidden = true
  }

  #take(view) {
    this.#view = view
    this.#onView(view)
    this.#drawSoon()
  }

  #plot(line) {
    if (this.#points.length >= POINTS_MAX) this.#points = this.#points.filter((_, i) => i % 2 === 0)
    this.#points.push(line)
    this.#recent.push(line)
    if (this.#recent.length > 2_000) this.#recent = this.#recent.slice(-1_000)
    this.#drawSoon()
  }

  #write({ at: time, level, source, message }) {
    const stamp = new Date(time)
    const clock = h('time', { datetime: stamp.toISOString() }, stamp.toLocaleTimeString('en-GB'))
    const stays = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 24
    this.#log.append(h('li', { class: level }, clock, h('span', { class: 'source' }, source), message))
    while (this.#log.children.length > LOG_LINES_SHOWN) this.#log.firstChild.remove()
    this.#logPart.hidden = false
    if (stays) this.#log.scrollTop = this.#log.scrollHeight
  }

  /** At most once a frame, however many events come. */
  #drawSoon() {
    if (this.#drawing) return
    this.#drawing = true
    requestAnimationFrame(() => {
      this.#drawing = false
      if (this.#view !== null) this.#draw(this.#view)
    })
  }

  #draw(job) {
    this.#element.hidden = false
    refill(this.#title, job.name)
    refill(
      this.#state,
      h('span', {}, pill(job.state), job.phase === undefined ? '' : h('span', { class: 'phase' }, job.phase)),
    )
    // The newest line is ahead of the last checkpoint, by up to a round.
    const newest = this.#points.reduce((most, { step }) => Math.max(most, step), job.progress.step)
    const steps = job.progress.steps || this.#points.at(-1)?.steps || 0
    const progress = { ...job.progress, step: steps === 0 ? 0 : Math.min(newest, steps), steps }
    refill(this.#progress, progressBar({ ...job, progress }))
    refill(this.#error, job.error === undefined ? '' : job.error.message)
    this.#body.classList.toggle('bare', this.#points.length === 0 && ENDED.has(job.state))
    this.#cancel.hidden = ENDED.has(job.state) || this.#role === 'viewer'
    this.#cancel.disabled = job.state === 'cancelling'
    const isViewer = this.#role === 'viewer'
    this.#pause.hidden = isViewer || !PAUSABLE.has(job.state)
    this.#resume.hidden = isViewer || (job.state !== 'paused' && job.state !== 'pausing')
    this.#retry.hidden = isViewer || !ENDED.has(job.state) || job.state === 'completed'
    const pairs = factsOf({ ...job, progress }, this.#pace(progress))
    refill(this.#results, resultsOf(job))
    refill(this.#facts, fragment(pairs.map(([label, value]) => h('div', {}, h('dt', {}, label), h('dd', {}, value)))))
    const [losses, accuracies] = this.#charts
    losses.draw(
      this.#points.map(({ step, loss: value }) => ({ step, value })),
      steps,
    )
    const known = this.#points.filter(({ accuracy }) => accuracy !== undefined)
    accuracies.draw(
      known.map(({ step, accuracy: value }) => ({ step, value })),
      steps,
    )
    accuracies.element.hidden = known.length === 0 && this.#points.length > 0
  }

  #pace({ step, steps }) {
    const last = this.#recent.at(-1)
    const first = this.#recent.find(({ at: time }) => time >= (last?.at ?? 0) - RECENT_MS)
    if (last === undefined || Date.now() - last.at > RECENT_MS) return { examplesPerS: null, leftMs: null }
    const byReplica = new Map(this.#recent.map(({ replica, examplesPerS }) => [replica, examplesPerS]))
    const examplesPerS = [...byReplica.values()].reduce((sum, each) => sum + each, 0)
    const stepsPerMs = (last.step - first.step) / (last.at - first.at)
    return { examplesPerS, leftMs: stepsPerMs > 0 ? (steps - step) / stepsPerMs : null }
  }

  async #askToCancel() {
    if (confirm(`Cancel ${this.#view.name}?`)) await this.#steer('cancel')
  }

  /** Another try at a job is a job of its own, which is then shown. */
  async #steer(verb) {
    try {
      const job = await request(`/v1/jobs/${encodeURIComponent(this.#id)}/${verb}`, { method: 'POST' })
      if (verb === 'retry') location.hash = `#/jobs/${encodeURIComponent(job.id)}`
    } catch (error) {
      refill(this.#error, error.message)
    }
  }
}

function fragment(children) {
  const holder = h('div', { class: 'pairs' })
  holder.append(...children)
  return holder
}

const links = new Map()
function linkTo(name, ok) {
  links.set(name, ok)
  const live = [...links.values()].every(Boolean)
  const link = at('link')
  link.className = live ? 'link live' : 'link lost'
  const words = live ? 'Live' : 'Connecting again …'
  if (link.textContent !== words) link.textContent = words
}

/** Lists are asked for; while nobody looks, they are not. */
async function poll(panel) {
  for (;;) {
    if (document.visibilityState === 'visible') await refresh(panel)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

async function refresh(panel) {
  try {
    const [jobs, workers] = await Promise.all([
      request('/v1/jobs?limit=25'),
      request('/v1/workers'),
      batches.refresh(),
      sweeps.refresh(),
      models.refresh(),
    ])
    lists = { jobs: jobs.items, workers: workers.items }
    draw(panel)
    linkTo('lists', true)
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) location.reload()
    linkTo('lists', false)
  }
}

let lists = { jobs: [], workers: [] }

function draw(panel) {
  const chosen = decodeURIComponent(/^#\/jobs\/(.+)$/.exec(location.hash)?.[1] ?? '')
  const id = chosen || jobToWatch(panel.id)
  if (id) panel.show(id)
  tables.jobs.update(lists.jobs, id)
  tables.workers.update(lists.workers)
  drawTiles()
}

/** Without a choice: what runs, newest first; else what was looked at before, else the newest. */
function jobToWatch(before) {
  const running = lists.jobs.filter(({ state }) => !ENDED.has(state))
  if (running.some(({ id }) => id === before)) return before
  return running[0]?.id ?? before ?? lists.jobs[0]?.id
}

function drawTiles() {
  const running = lists.jobs.filter(({ state }) => !ENDED.has(state)).length
  const present = lists.workers.filter(({ state }) => state !== 'gone')
  const busy = present.filter(({ state }) => state === 'busy').length
  const tiles = [
    ['Jobs running', count(running)],
    ['Workers', `${busy} of ${present.length} busy`],
    ['Models', count(models.count)],
  ]
  refill(at('tiles'), fragment(tiles.map(([label, value]) => h('div', {}, h('dt', {}, label), h('dd', {}, value)))))
}

function start({ subject, role }) {
  at('sign-in').hidden = true
  at('fleet').hidden = false
  at('me').hidden = false
  refill(at('who'), `${subject} (${role})`)
  for (const [name, table] of Object.entries(tables)) at(name).replaceChildren(table.element)
  batches.role = role
  const panel = new JobPanel(role, (view) => {
    lists.jobs = lists.jobs.map((job) => (job.id === view.id && job.seq <= view.seq ? view : job))
    draw(panel)
  })
  addEventListener('hashchange', () => {
    draw(panel)
    void refresh(panel) // a sweep or a model that is chosen is asked for
  })
  document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && void refresh(panel))
  void poll(panel)
}

function askForToken(reason) {
  at('sign-in').hidden = false
  refill(at('sign-in-error'), reason)
  at('token').focus()
}

async function enter() {
  const token = /^#token=(.+)$/.exec(location.hash)?.[1]
  let reason = ''
  if (token !== undefined) {
    // Out of the address bar first: it must not be bookmarked, shared or sent again.
    history.replaceState(null, '', location.pathname)
    await signIn(decodeURIComponent(token)).catch((error) => (reason = error.message))
  }
  try {
    start(await request('/v1/session'))
  } catch (error) {
    askForToken(error.status === 401 ? reason : error.message)
  }
}

at('sign-in-form').addEventListener('submit', (event) => {
  event.preventDefault()
  signIn(at('token').value.trim()).then(start, (error) => refill(at('sign-in-error'), error.message))
})
at('sign-out').addEventListener('click', () => {
  void signOut().finally(() => location.reload())
})
await enter()

/** Addresses of the panels; the same in the console and in JupyterLab's tabs. */
import type { Key } from './i18n';
import { useWords } from './i18n';
import { AdminPage } from './panels/admin';
import { ClassPage } from './panels/classroom';
import { EndpointPage, EndpointsPage, NewEndpointPage } from './panels/endpoints';
import { EnvironmentPage, EnvironmentsPage, NewEnvironmentPage } from './panels/environments';
import { HomePage } from './panels/home';
import { JobPage, JobsPage, NewJobPage } from './panels/jobs';
import { ModelPage, ModelsPage } from './panels/models';
import { OrganisationPage } from './panels/organisation';
import { UsagePage } from './panels/usage';
import { Page } from './parts/layout';
import { Empty } from './parts/states';

interface Route {
  pattern: RegExp;
  title: Key;
  show: (...parts: string[]) => JSX.Element;
}

const ROUTES: Route[] = [
  { pattern: /^\/$/, title: 'nav.home', show: () => <HomePage /> },
  { pattern: /^\/environments$/, title: 'environment.many', show: () => <EnvironmentsPage /> },
  { pattern: /^\/environments\/new$/, title: 'environment.new', show: () => <NewEnvironmentPage /> },
  { pattern: /^\/environments\/([^/]+)$/, title: 'environment.one', show: id => <EnvironmentPage key={id} id={id} /> },
  { pattern: /^\/jobs$/, title: 'job.many', show: () => <JobsPage /> },
  { pattern: /^\/jobs\/new$/, title: 'job.new', show: () => <NewJobPage /> },
  { pattern: /^\/jobs\/(\d+)$/, title: 'job.one', show: id => <JobPage key={id} id={id} /> },
  { pattern: /^\/models$/, title: 'model.many', show: () => <ModelsPage /> },
  { pattern: /^\/models\/([^/]+)\/([^/]+)$/, title: 'model.one', show: (tenant, name) => <ModelPage key={tenant + name} tenant={tenant} name={name} /> },
  { pattern: /^\/endpoints$/, title: 'endpoint.many', show: () => <EndpointsPage /> },
  { pattern: /^\/endpoints\/new$/, title: 'endpoint.publish', show: () => <NewEndpointPage /> },
  { pattern: /^\/endpoints\/(\d+)$/, title: 'endpoint.one', show: id => <EndpointPage key={id} id={id} /> },
  { pattern: /^\/usage$/, title: 'usage.title', show: () => <UsagePage /> },
  { pattern: /^\/class(?:\/([^/]+))?$/, title: 'class.title', show: slug => <ClassPage slug={slug} /> },
  { pattern: /^\/organisation(?:\/([^/]+))?$/, title: 'organisation.title', show: slug => <OrganisationPage key={slug} slug={slug} /> },
  { pattern: /^\/admin(?:\/([^/]+))?$/, title: 'admin.title', show: section => <AdminPage key={section} section={section} /> }
];

function match(path: string): { route: Route; parts: string[] } | null {
  const clean = path.length > 1 ? path.replace(/\/+$/, '') : path;
  for (const route of ROUTES) {
    const found = route.pattern.exec(clean);
    if (found) return { route, parts: found.slice(1).map(part => (part === undefined ? part : decodeURIComponent(part))) };
  }
  return null;
}

/** The panel of an address. */
export function PanelAt({ path }: { path: string }): JSX.Element {
  const { t } = useWords();
  const found = match(path);
  if (found) return found.route.show(...found.parts);
  return (
    <Page title={t('nav.unknown')}>
      <Empty text={t('nav.unknownText', { path })} />
    </Page>
  );
}

/** What a tab or window showing the address is called, and the last part that tells it from its likes. */
export function titleOf(path: string): { key: Key; detail: string } {
  const found = match(path);
  if (!found) return { key: 'nav.unknown', detail: '' };
  return { key: found.route.title, detail: found.parts.filter(Boolean).at(-1) ?? '' };
}

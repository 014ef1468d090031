/** Organisation: the tree of tenants, members with roles, quotas. */
import { useState } from 'react';

import { may, useChange, useList, useMe, useOne, usePlace } from '../context';
import { useWords } from '../i18n';
import { Button, Link, type Action } from '../parts/buttons';
import { Dialog, useConfirm } from '../parts/dialog';
import { FormProblem, problemOf, SelectField, TextField } from '../parts/form';
import { Page, Tabs } from '../parts/layout';
import { Empty, Loaded } from '../parts/states';
import { cutLocally, DataTable, SmallTable, useTableState, type Column } from '../parts/table';
import { useNotify, useSentence } from '../parts/toast';
import { Facts } from '../parts/values';
import type { Member, Quota, Role, Tenant } from '../types';
import { QuotaBar, resourceTitle } from './quotas';

const ROLES: Role[] = ['admin', 'teacher', 'assistant', 'member', 'viewer'];
const KINDS = ['organisation', 'department', 'course', 'project'] as const;
const GIB = 1024 ** 3;

const useTenants = () => useList<Tenant>('tenancy', 'tenants', { params: { limit: 500 } });

export function OrganisationPage({ slug }: { slug?: string }): JSX.Element {
  const { t } = useWords();
  const me = useMe().data;
  const tenants = useTenants();
  const [adding, setAdding] = useState(false);
  return (
    <Loaded query={tenants} rows={6}>
      {data => {
        if (!data.items.length)
          return (
            <Page title={t('organisation.title')}>
              <Empty text={t('organisation.empty')}>{me?.admin && <Button kind="primary" onClick={() => setAdding(true)}>{t('tenant.new')}</Button>}</Empty>
              {adding && <TenantDialog parent={null} onClose={() => setAdding(false)} />}
            </Page>
          );
        const chosen = slug ?? me?.default_tenant ?? data.items[0].slug;
        return (
          <div className="lt-split">
            <nav className="lt-tree" aria-label={t('organisation.title')}>
              <Tree tenants={data.items} chosen={chosen} />
              {me?.admin && (
                <Button small onClick={() => setAdding(true)}>
                  {t('tenant.newTop')}
                </Button>
              )}
            </nav>
            <TenantPage slug={chosen} />
            {adding && <TenantDialog parent={null} onClose={() => setAdding(false)} />}
          </div>
        );
      }}
    </Loaded>
  );
}

/** Tenants in the order of the tree, children behind their parent. */
export function inTreeOrder(tenants: Tenant[]): Tenant[] {
  const known = new Set(tenants.map(one => one.slug));
  const below = (parent: string | null): Tenant[] =>
    tenants
      .filter(one => (one.parent && known.has(one.parent) ? one.parent : null) === parent)
      .sort((a, b) => a.name.localeCompare(b.name))
      .flatMap(one => [one, ...below(one.slug)]);
  return below(null);
}

function Tree({ tenants, chosen }: { tenants: Tenant[]; chosen: string }): JSX.Element {
  const { word } = useWords();
  const ordered = inTreeOrder(tenants);
  const top = Math.min(...ordered.map(one => one.depth));
  return (
    <ul>
      {ordered.map(one => (
        <li key={one.slug} style={{ paddingLeft: `${(one.depth - top) * 16}px` }} aria-current={one.slug === chosen ? 'page' : undefined}>
          <Link to={`/organisation/${one.slug}`}>{one.name}</Link> <span className="lt-hint">{word('tenant.', one.kind)}</span>
        </li>
      ))}
    </ul>
  );
}

function TenantPage({ slug }: { slug: string }): JSX.Element {
  const { t, word } = useWords();
  const me = useMe().data;
  const place = usePlace();
  const confirm = useConfirm();
  const notify = useNotify();
  const sentence = useSentence();
  const [dialog, setDialog] = useState<'child' | 'edit' | null>(null);
  const query = useOne<Tenant>('tenancy', `tenants/${slug}`);
  const remove = useChange((client, one: Tenant) => client.send('DELETE', 'tenancy', `tenants/${one.slug}`), 'tenancy');
  const mayWrite = may(me, 'tenants:update', slug);
  return (
    <Loaded query={query} rows={6}>
      {one => (
        <Page
          title={one.name}
          state={<span className="lt-badge">{word('tenant.', one.kind)}</span>}
          actions={
            mayWrite && (
              <>
                <Button onClick={() => setDialog('child')}>{t('tenant.newBelow')}</Button>
                <Button onClick={() => setDialog('edit')}>{t('action.edit')}</Button>
                <Button
                  kind="danger"
                  onClick={() =>
                    void confirm({ title: t('tenant.deleteTitle', { name: one.name }), text: t('tenant.deleteText'), verb: t('action.delete'), danger: true }).then(
                      yes => yes && remove.mutate(one, { onError: error => notify(sentence(error), 'bad'), onSuccess: () => place.open('/organisation') })
                    )
                  }
                >
                  {t('action.delete')}
                </Button>
              </>
            )
          }
        >
          <Facts
            facts={[
              [t('tenant.path'), one.path.join(' / ')],
              [t('tenant.members'), one.members],
              [t('tenant.myRole'), one.role ? word('role.', one.role) : null],
              [t('tenant.weight'), one.cluster ? one.weight : null],
              [t('tenant.cluster'), one.cluster ? <ClusterState cluster={one.cluster} /> : null]
            ]}
          />
          <Tabs
            tabs={[
              { id: 'members', title: t('tenant.members'), show: () => <MemberTable tenant={slug} /> },
              { id: 'quotas', title: t('quota.many'), show: () => <TenantQuotas tenant={slug} /> }
            ]}
          />
          {dialog && <TenantDialog parent={dialog === 'child' ? one : null} edit={dialog === 'edit' ? one : undefined} onClose={() => setDialog(null)} />}
        </Page>
      )}
    </Loaded>
  );
}

function ClusterState({ cluster }: { cluster: NonNullable<Tenant['cluster']> }): JSX.Element {
  const { t } = useWords();
  return (
    <span className="lt-state">
      <span className={`lt-dot lt-dot-${cluster.ready ? 'green' : 'amber'}`} aria-hidden="true" />
      <span>{cluster.ready ? t('tenant.clusterReady') : cluster.message}</span>
    </span>
  );
}

function TenantDialog({ parent, edit, onClose }: { parent: Tenant | null; edit?: Tenant; onClose: () => void }): JSX.Element {
  const { t, word } = useWords();
  const place = usePlace();
  const [name, setName] = useState(edit?.name ?? '');
  const [weight, setWeight] = useState(String(edit?.weight ?? 1));
  const weighed = edit && Number(weight) !== (edit.weight ?? 1) ? { weight: Number(weight) } : {};
  const [kind, setKind] = useState<string>(edit?.kind ?? (parent ? (parent.kind === 'organisation' ? 'department' : 'course') : 'organisation'));
  const save = useChange(
    (client, body: object) => (edit ? client.send<Tenant>('PATCH', 'tenancy', `tenants/${edit.slug}`, body) : client.send<Tenant>('POST', 'tenancy', 'tenants', body)),
    'tenancy'
  );
  const onSubmit = (event: React.FormEvent): void => {
    event.preventDefault();
    save.mutate(edit ? { name: name.trim(), ...weighed } : { name: name.trim(), kind, parent: parent?.slug ?? null }, {
      onSuccess: made => {
        onClose();
        if (!edit && made?.slug) place.open(`/organisation/${made.slug}`);
      }
    });
  };
  return (
    <Dialog title={edit ? t('tenant.editTitle', { name: edit.name }) : parent ? t('tenant.newBelowTitle', { name: parent.name }) : t('tenant.new')} onClose={onClose}>
      <form className="lt-form" onSubmit={onSubmit}>
        <TextField label={t('field.name')} value={name} onChange={setName} required autoFocus problem={problemOf(save.error, 'name')} />
        {!edit && <SelectField label={t('tenant.kind')} value={kind} onChange={setKind} choices={KINDS.map(one => ({ value: one, label: word('tenant.', one) }))} />}
        {edit?.cluster && (
          <TextField label={t('tenant.weight')} value={weight} onChange={setWeight} type="number" required hint={t('tenant.weightHint')} problem={problemOf(save.error, 'weight')} />
        )}
        <FormProblem error={save.error} fields={['name', 'weight']} />
        <footer className="lt-dialog-foot">
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button kind="primary" submit busy={save.isPending} disabled={!name.trim()}>
            {t('action.save')}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}

export function MemberTable({ tenant }: { tenant: string }): JSX.Element {
  const { t, word } = useWords();
  const me = useMe().data;
  const confirm = useConfirm();
  const notify = useNotify();
  const sentence = useSentence();
  const state = useTableState();
  const [editing, setEditing] = useState<Member | 'new' | null>(null);
  const query = useList<Member>('tenancy', `tenants/${tenant}/members`, { params: { limit: 1000 } });
  const remove = useChange((client, user: string) => client.send('DELETE', 'tenancy', `tenants/${tenant}/members/${encodeURIComponent(user)}`), 'tenancy');
  const mayWrite = may(me, 'members:write', tenant);
  const actions = (member: Member): Action[] =>
    member.inherited_from
      ? [{ label: t('member.giveOther'), run: () => setEditing(member) }]
      : [
          { label: t('member.changeRole'), run: () => setEditing(member) },
          {
            label: t('member.remove'),
            danger: true,
            run: () =>
              void confirm({ title: t('member.removeTitle', { name: member.display_name || member.user }), text: t('member.removeText'), verb: t('member.remove'), danger: true }).then(
                yes => yes && remove.mutate(member.user, { onError: error => notify(sentence(error), 'bad') })
              )
          }
        ];
  const columns: Column<Member>[] = [
    { id: 'name', title: t('field.name'), grow: true, by: member => member.display_name || member.user, cell: member => member.display_name || member.user },
    { id: 'user', title: t('member.login'), by: member => member.user, cell: member => <code>{member.user}</code> },
    { id: 'role', title: t('member.role'), by: member => member.role, cell: member => word('role.', member.role) },
    { id: 'from', title: t('member.from'), by: member => member.inherited_from, cell: member => member.inherited_from ?? t('member.direct') }
  ];
  return (
    <>
      <DataTable
        name="members"
        label={t('tenant.members')}
        query={cutLocally(query, state, columns)}
        state={state}
        columns={columns}
        keyOf={member => `${member.user}-${member.inherited_from ?? ''}`}
        actions={mayWrite ? actions : undefined}
        filters={mayWrite && <Button onClick={() => setEditing('new')}>{t('member.add')}</Button>}
        empty={<Empty text={t('member.empty')} />}
      />
      {editing && <MemberDialog tenant={tenant} member={editing === 'new' ? null : editing} onClose={() => setEditing(null)} />}
    </>
  );
}

function MemberDialog({ tenant, member, onClose }: { tenant: string; member: Member | null; onClose: () => void }): JSX.Element {
  const { t, word } = useWords();
  const [user, setUser] = useState(member?.user ?? '');
  const [role, setRole] = useState<string>(member?.role ?? 'member');
  const save = useChange((client, body: object) => client.send('PUT', 'tenancy', `tenants/${tenant}/members/${encodeURIComponent(user.trim())}`, body), 'tenancy');
  const onSubmit = (event: React.FormEvent): void => {
    event.preventDefault();
    save.mutate({ role }, { onSuccess: onClose });
  };
  return (
    <Dialog title={member ? t('member.changeTitle', { name: member.display_name || member.user }) : t('member.add')} onClose={onClose}>
      <form className="lt-form" onSubmit={onSubmit}>
        {!member && <TextField label={t('member.login')} value={user} onChange={setUser} required autoFocus mono problem={problemOf(save.error, 'user')} />}
        <SelectField label={t('member.role')} value={role} onChange={setRole} choices={ROLES.map(one => ({ value: one, label: word('role.', one) }))} hint={t('member.roleHint')} />
        <FormProblem error={save.error} fields={['user']} />
        <footer className="lt-dialog-foot">
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button kind="primary" submit busy={save.isPending} disabled={!user.trim()}>
            {t('action.save')}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}

function TenantQuotas({ tenant }: { tenant: string }): JSX.Element {
  const words = useWords();
  const { t } = words;
  const me = useMe().data;
  const [editing, setEditing] = useState<Quota | 'new' | null>(null);
  const query = useList<Quota>('tenancy', `tenants/${tenant}/quotas`);
  const mayWrite = may(me, 'quotas:write', tenant);
  return (
    <>
      <div className="lt-toolbar">
        <p className="lt-hint">{t('quota.about')}</p>
        <span className="lt-spring" />
        {mayWrite && <Button onClick={() => setEditing('new')}>{t('quota.new')}</Button>}
      </div>
      <Loaded query={query} rows={4}>
        {data =>
          data.items.length ? (
            <SmallTable
              label={t('quota.many')}
              rows={data.items}
              keyOf={quota => `${quota.user}/${quota.resource}`}
              actions={mayWrite ? quota => [{ label: t('action.edit'), run: () => setEditing(quota) }] : undefined}
              columns={[
                { id: 'resource', title: t('quota.resource'), cell: quota => resourceTitle(quota.resource, words) },
                { id: 'who', title: t('quota.who'), cell: quota => (quota.user === '*' ? t('quota.everyone') : (quota.user ?? t('quota.together'))) },
                { id: 'bar', title: t('quota.used'), grow: true, cell: quota => <QuotaBar quota={quota} label={quota.tenant_name ?? quota.tenant} /> }
              ]}
            />
          ) : (
            <Empty text={t('quota.empty')} />
          )
        }
      </Loaded>
      {editing && <QuotaDialog tenant={tenant} quota={editing === 'new' ? null : editing} onClose={() => setEditing(null)} />}
    </>
  );
}

const isBytes = (resource: string): boolean => resource === 'memory' || resource === 'storage';

function QuotaDialog({ tenant, quota, onClose }: { tenant: string; quota: Quota | null; onClose: () => void }): JSX.Element {
  const words = useWords();
  const { t } = words;
  const [resource, setResource] = useState(quota?.resource ?? 'cpu');
  const [kind, setKind] = useState('');
  const [user, setUser] = useState(quota?.user ?? '');
  const full = resource === 'accelerators' && kind.trim() ? `accelerator:${kind.trim()}` : resource;
  const unit = isBytes(full) ? GIB : 1;
  const [guaranteed, setGuaranteed] = useState(quota?.guaranteed ? String(quota.guaranteed / (isBytes(quota.resource) ? GIB : 1)) : '');
  const amount = (text: string): number => (isBytes(full) ? Math.round(Number(text) * unit) : Number(text));
  const lendable = !user.trim() && (full === 'cpu' || full === 'memory' || full.startsWith('accelerator:'));
  const [limit, setLimit] = useState(quota?.limit === null || quota === null ? '' : String(quota.limit / (isBytes(quota.resource) ? GIB : 1)));
  const save = useChange((client, body: object) => client.send('PUT', 'tenancy', `tenants/${tenant}/quotas`, body), 'tenancy');
  const onSubmit = (event: React.FormEvent): void => {
    event.preventDefault();
    const body = { resource: full, limit: limit === '' ? null : amount(limit), user: user.trim() || null };
    save.mutate(lendable && limit !== '' ? { ...body, guaranteed: amount(guaranteed) } : body, { onSuccess: onClose });
  };
  return (
    <Dialog title={quota ? t('quota.edit', { resource: resourceTitle(quota.resource, words) }) : t('quota.new')} onClose={onClose}>
      <form className="lt-form" onSubmit={onSubmit}>
        {!quota && (
          <>
            <SelectField
              label={t('quota.resource')}
              value={resource}
              onChange={setResource}
              choices={['cpu', 'memory', 'storage', 'accelerators'].map(one => ({ value: one, label: resourceTitle(one, words) }))}
            />
            {resource === 'accelerators' && <TextField label={t('quota.acceleratorKind')} value={kind} onChange={setKind} hint={t('quota.acceleratorHint')} mono />}
            <TextField label={t('quota.who')} value={user} onChange={setUser} placeholder={t('quota.together')} hint={t('quota.whoHint')} problem={problemOf(save.error, 'user')} />
          </>
        )}
        <TextField
          label={isBytes(full) ? t('quota.limitGib') : t('quota.limit')}
          value={limit}
          onChange={setLimit}
          type="number"
          hint={t('quota.limitHint')}
          problem={problemOf(save.error, 'limit')}
          autoFocus
        />
        {lendable && (
          <TextField
            label={isBytes(full) ? t('quota.guaranteedGib') : t('quota.guaranteed')}
            value={guaranteed}
            onChange={setGuaranteed}
            type="number"
            hint={t('quota.guaranteedHint')}
            problem={problemOf(save.error, 'guaranteed')}
          />
        )}
        <FormProblem error={save.error} fields={['user', 'limit', 'guaranteed']} />
        <footer className="lt-dialog-foot">
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button kind="primary" submit busy={save.isPending}>
            {t('action.save')}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}

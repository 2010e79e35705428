-- Tables, indices, joins, text, sorting and recursion, the same each time.
create table item(id integer primary key, name text, price real, note blob);
create table sale(item integer, day integer, amount integer);
create index sale_item on sale(item, day);
begin;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)
insert into item select i, 'item ' || (i * 7919 % 20011), i * 1.25, zeroblob(i % 500) from n;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 150000)
insert into sale select i * 31 % 20000 + 1, i % 365, i % 17 from n;
commit;
select count(*), sum(length(note)) from item;
select name, sum(amount * price) as total from sale join item on item.id = sale.item
    group by item.id order by total desc, name limit 10;
select day, count(distinct item), group_concat(amount, ',') from sale where day < 2 group by day;
update item set name = upper(name) || '-' || id where id % 3 = 0;
delete from sale where day % 7 = 0;
select length(group_concat(name, ';')) from (select name from item order by name);
create view top as select item, amount, rank() over (partition by day order by amount desc, item) r
    from sale;
select sum(item) from top where r < 4;
select json_extract(json_group_array(json_object('id', id, 'name', name)), '$[777]') from item;
vacuum;
select count(*) from item a join item b on a.id = b.id + 1 where a.name > b.name;

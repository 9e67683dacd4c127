-- In which languages are the reviews written? Counted by function words: the language of which a text has the most
-- different ones in its first 400 characters, if there are at least three and more than of any other. Short texts say
-- too little.
WITH words AS (
    SELECT
        star_rating,
        regexp_extract_all(lower(substr(review_body, 1, 400)), '[a-zß-ÿ]+') AS words,
        regexp_like(
            substr(review_body, 1, 400),
            '[\p{Cyrillic}\p{Greek}\p{Arabic}\p{Hebrew}\p{Devanagari}\p{Thai}\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]{3}'
        ) AS other_script
    FROM reviews
),
hits AS (
    SELECT
        star_rating,
        other_script,
        cardinality(array_intersect(words, ARRAY[
            'the', 'and', 'to', 'of', 'it', 'is', 'this', 'that', 'for', 'with', 'was', 'not', 'but', 'have', 'you', 'my', 'are', 'very'
        ])) AS english,
        cardinality(array_intersect(words, ARRAY[
            'el', 'los', 'las', 'que', 'es', 'muy', 'para', 'con', 'por', 'una', 'pero', 'del', 'se', 'lo', 'más', 'está', 'bien', 'mi'
        ])) AS spanish,
        cardinality(array_intersect(words, ARRAY[
            'le', 'les', 'des', 'est', 'et', 'pour', 'avec', 'pas', 'une', 'très', 'dans', 'je', 'ce', 'qui', 'mais', 'sur', 'du', 'il'
        ])) AS french,
        cardinality(array_intersect(words, ARRAY[
            'der', 'das', 'und', 'ist', 'nicht', 'ich', 'mit', 'ein', 'eine', 'sehr', 'für', 'auf', 'auch', 'zu', 'den', 'aber', 'es', 'von'
        ])) AS german,
        cardinality(array_intersect(words, ARRAY[
            'il', 'che', 'di', 'per', 'non', 'una', 'con', 'molto', 'sono', 'della', 'questo', 'gli', 'ho', 'come', 'anche', 'è', 'ma', 'si'
        ])) AS italian,
        cardinality(array_intersect(words, ARRAY[
            'que', 'não', 'uma', 'para', 'com', 'muito', 'os', 'do', 'da', 'em', 'mais', 'meu', 'é', 'um', 'mas', 'foi', 'bem', 'no'
        ])) AS portuguese
    FROM words
),
guesses AS (
    SELECT
        star_rating,
        CASE
            WHEN other_script THEN 'another script'
            WHEN greatest(english, spanish, french, german, italian, portuguese) < 3 THEN 'too little to tell'
            WHEN english >= greatest(spanish, french, german, italian, portuguese) THEN 'English'
            WHEN spanish > greatest(french, german, italian, portuguese) THEN 'Spanish'
            WHEN french > greatest(spanish, german, italian, portuguese) THEN 'French'
            WHEN german > greatest(spanish, french, italian, portuguese) THEN 'German'
            WHEN italian > greatest(spanish, french, german, portuguese) THEN 'Italian'
            WHEN portuguese > greatest(spanish, french, german, italian) THEN 'Portuguese'
            ELSE 'unclear'
        END AS guess
    FROM hits
)
SELECT
    guess,
    count(*) AS reviews,
    1e0 * count(*) / sum(count(*)) OVER () AS share,
    avg(star_rating) AS average_stars
FROM guesses
GROUP BY guess
ORDER BY reviews DESC, guess
